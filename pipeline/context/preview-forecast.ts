import type { Ledger } from "../../distro/ledger/ledger.ts";
import {
  type BuildEstimate,
  estimateJointSeconds,
  medianSeconds,
} from "../../distro/plan/build-durations.ts";
import { computeCosts, type PricedFleet, type Prices, type RunCost } from "../../distro/plan/cost.ts";
import {
  type Forecast,
  type ForecastImage,
  type ForecastStatus,
  forecastRun,
  formatForecast,
} from "../../distro/plan/forecast.ts";
import type { InputsStatus } from "../../distro/published/published-inputs.ts";
import { shortenList } from "../../lib/text/shortened-list.ts";

/** How the images of a preview are compared with their published digests. */
export type PublishedComparison = {
  /** Those whose inputs are not the published ones. */
  readonly changed: readonly string[];
  /** How many may be such, as the digests of what they are built from are not known yet. */
  readonly undecided: number;
  readonly held: number;
};

/** Tells the comparison in a line for people; undefined where nothing is compared. */
export function formatComparison({
  changed,
  undecided: open,
  held,
}: PublishedComparison): string | undefined {
  if (changed.length + open + held === 0) return undefined;
  const names = changed.length > 8 ? [...changed.slice(0, 8), `${changed.length - 8} more`] : changed;
  const parts = [
    ...(changed.length > 0 ? [`${changed.length} new (${names.join(", ")})`] : []),
    ...(open > 0 ? [`${open} may be new, by what they are built from`] : []),
    `${held} held against their published digests`,
  ];
  return `${parts.join(", ")}.`;
}

/** What the engine has asked of each image so far in a preview, and so what a run would do. */
export class PreviewForecast {
  readonly #standings = new Map<string, InputsStatus>();
  readonly #images = new Map<string, { status: ForecastStatus; dependencies: readonly string[] }>();

  readonly #missing = new Set<string>();

  noteImage(image: string, status: ForecastStatus, dependencies: readonly string[]): void {
    this.#images.set(image, { status, dependencies });
  }

  /** Notes how the inputs of an image with a published digest stand to the published ones. */
  notePublishedStatus(image: string, standing: InputsStatus): void {
    this.#standings.set(image, standing);
  }

  /** Notes an image of which nothing has changed, but that is not in `out/` any more. */
  noteMissingExport(image: string): void {
    this.#missing.add(image);
  }

  /** Tells in a line for people what is laid out again; undefined where nothing is. */
  missingExportsText(): string | undefined {
    if (this.#missing.size === 0) return undefined;
    const names = shortenList([...this.#missing], 8);
    return `Not in out/ any more, and laid out there again without being built: ${names}.`;
  }

  /** Which of the images noted are held against their published digests, and which are new. */
  publishedComparison(): PublishedComparison {
    const of = (wanted: InputsStatus) =>
      [...this.#standings].flatMap(([image, standing]) => (standing === wanted ? [image] : []));
    return { changed: of("changed"), undecided: of("open").length, held: of("published").length };
  }

  /** The forecast over all images noted; durations are what the ledger has recorded, the middle one of each image. */
  async forecast(ledger: Ledger, slots: number): Promise<{ forecast: Forecast; text: string }> {
    const hasWork = [...this.#images.values()].some(({ status }) => isWork(status));
    // A ledger has every build there ever was: not read where nothing will be.
    const seconds = medianSeconds(hasWork ? (await ledger.readAll()).records : []);
    const images = new Map<string, ForecastImage>();
    for (const [name, noted] of this.#images)
      images.set(name, { ...noted, seconds: seconds.get(name) ?? null });
    const found = forecastRun(images, slots);
    return { forecast: found, text: formatForecast(found, slots) };
  }

  /** The images that are built, or may have to be. */
  get imagesToBuild(): string[] {
    return [...this.#images].flatMap(([name, { status }]) => (isWork(status) ? [name] : []));
  }

  /** What it costs on each of the fleets to build what may have to be built. */
  costs(
    expected: ReadonlyMap<string, BuildEstimate>,
    fleets: readonly PricedFleet[],
    prices: Prices,
  ): RunCost[] {
    const built = [...this.#images].filter(([, { status }]) => isWork(status));
    const seconds = estimateJointSeconds(
      built.map(([name]) => name),
      expected,
    );
    const images = new Map(
      built.map(([name, noted]) => [name, { ...noted, seconds: seconds.get(name) ?? null }]),
    );
    return images.size === 0 ? [] : computeCosts(images, fleets, prices);
  }
}

function isWork(status: ForecastStatus): boolean {
  return status === "will" || status === "may";
}
