import type { Transfer } from "./transfer-stats.ts";

/** How dependencies come to a builder: sent from this machine's store, or pulled by the builder from a registry. */
export type TransferRoute = "store" | "registry";

/** Where a builder lacks less than this, in bytes, either route is as good, and nothing is tried out. */
const worthTrying = 16 * 2 ** 20;

/** Less than this, in bytes, says more of greetings than of the line. */
const worthMeasuring = 2 ** 20;

/** For how long a registry that failed a builder is not asked by it again, in milliseconds; twice as long each time it fails again. */
const firstPause = 60_000;
const longestPause = 3_600_000;

/** What a route has cost: sums in which what is older counts for less. */
type Cost = { bytes: number; seconds: number };

/**
 * The cheaper route of dependencies to one builder, by what either has cost it in seconds a byte. The store is taken for the better one as
 * long as nothing is known, as it needs nobody else; the registry is tried once, with enough bytes to tell.
 */
export class RouteSelector {
  readonly #costs = new Map<TransferRoute, Cost>();
  #pause = firstPause;
  #pausedUntil = Number.NEGATIVE_INFINITY;

  /**
   * The route for a build.
   * @param lacking about how many bytes of its dependencies the builder has not got
   * @param now in milliseconds
   */
  choose(lacking: number, now: number): TransferRoute {
    if (now < this.#pausedUntil) return "store";
    const [store, registry] = [this.secondsPerMiB("store"), this.secondsPerMiB("registry")];
    if (store !== undefined && registry !== undefined) return registry < store ? "registry" : "store";
    return store !== undefined && lacking >= worthTrying ? "registry" : "store";
  }

  /** Notes what came on a route. */
  noteTransfer(route: TransferRoute, { bytes, seconds }: Transfer): void {
    if (route === "registry" && bytes > 0) this.#pause = firstPause;
    if (bytes < worthMeasuring) return;
    const before = this.#costs.get(route) ?? { bytes: 0, seconds: 0 };
    this.#costs.set(route, { bytes: before.bytes / 2 + bytes, seconds: before.seconds / 2 + seconds });
  }

  /** Notes that the registry failed the builder at this time, in milliseconds. */
  noteFailure(now: number): void {
    this.#pausedUntil = now + this.#pause;
    this.#pause = Math.min(longestPause, this.#pause * 2);
  }

  /** What a route costs, by what is known of it; undefined where nothing is. */
  secondsPerMiB(route: TransferRoute): number | undefined {
    const cost = this.#costs.get(route);
    return cost && (cost.seconds / cost.bytes) * 2 ** 20;
  }
}
