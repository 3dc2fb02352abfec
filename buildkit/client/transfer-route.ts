import type { Transfer } from "./transfer-stats.ts";

/**
 * The way of dependencies to a builder: sent from this machine's store, or pulled by the builder
 * from a registry.
 */
export type TransferRoute = "store" | "registry";

/** Where a builder lacks fewer bytes than this, the registry is not tried out. */
const worthTrying = 16 * 2 ** 20;

/** Transfers of fewer bytes than this measure the latency, not the line. */
const worthMeasuring = 2 ** 20;

/**
 * The time for which a builder does not use a registry that failed, in milliseconds; doubled at
 * each further failure.
 */
const firstPause = 60_000;
const longestPause = 3_600_000;

/** The cost of a route: sums in which older transfers count for less. */
type Cost = { bytes: number; seconds: number };

/**
 * Selects the cheaper route of dependencies to one builder, by the seconds a byte that it has
 * measured. The store comes first, as it depends on no one else; the registry is tried once, with
 * enough bytes to measure.
 */
export class RouteSelector {
  readonly #costs = new Map<TransferRoute, Cost>();
  #pause = firstPause;
  #pausedUntil = Number.NEGATIVE_INFINITY;

  /**
   * Returns the route for a build.
   * @param lacking about how many bytes of its dependencies the builder lacks
   * @param now in milliseconds
   */
  choose(lacking: number, now: number): TransferRoute {
    if (now < this.#pausedUntil) return "store";
    const [store, registry] = [this.secondsPerMiB("store"), this.secondsPerMiB("registry")];
    if (store !== undefined && registry !== undefined) return registry < store ? "registry" : "store";
    return store !== undefined && lacking >= worthTrying ? "registry" : "store";
  }

  /** Notes the transfer of a build. */
  noteTransfer(route: TransferRoute, { bytes, seconds }: Transfer): void {
    if (route === "registry" && bytes > 0) this.#pause = firstPause;
    if (bytes < worthMeasuring) return;
    const before = this.#costs.get(route) ?? { bytes: 0, seconds: 0 };
    this.#costs.set(route, { bytes: before.bytes / 2 + bytes, seconds: before.seconds / 2 + seconds });
  }

  /** Notes that the registry failed at this time, in milliseconds. */
  noteFailure(now: number): void {
    this.#pausedUntil = now + this.#pause;
    this.#pause = Math.min(longestPause, this.#pause * 2);
  }

  /** Returns the measured cost of a route; undefined where nothing was measured. */
  secondsPerMiB(route: TransferRoute): number | undefined {
    const cost = this.#costs.get(route);
    return cost && (cost.seconds / cost.bytes) * 2 ** 20;
  }
}
