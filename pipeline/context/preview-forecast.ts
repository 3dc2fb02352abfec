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
} from "../../distro/plan/forecast.ts";
import { formatForecast } from "../../distro/plan/forecast-text.ts";
import type { InputsStatus } from "../../distro/published/published-inputs.ts";
import { shortenList } from "../../lib/text/shortened-list.ts";

/** The images of a preview, compared with those that their digests were published of. */
export type PublishedComparison = {
  /** Images with other inputs than the published ones. */
  readonly changed: readonly string[];
  /** Images that may have changed: the digest of a dependency is not known yet. */
  readonly undecided: number;
  readonly held: number;
};

/** Formats the comparison as one line; undefined where nothing is compared. */
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

/** Collects the forecast status of each image that the engine has previewed so far. */
export class PreviewForecast {
  readonly #standings = new Map<string, InputsStatus>();
  readonly #images = new Map<string, { status: ForecastStatus; dependencies: readonly string[] }>();

  readonly #missing = new Set<string>();

  noteImage(image: string, status: ForecastStatus, dependencies: readonly string[]): void {
    this.#images.set(image, { status, dependencies });
  }

  /** Notes how the inputs of an image compare with those that its digest was published of. */
  notePublishedStatus(image: string, standing: InputsStatus): void {
    this.#standings.set(image, standing);
  }

  /** Notes an unchanged image that `out/` lacks. */
  noteMissingExport(image: string): void {
    this.#missing.add(image);
  }

  /** Formats the images to export again as one line; undefined where there are none. */
  missingExportsText(): string | undefined {
    if (this.#missing.size === 0) return undefined;
    const names = shortenList([...this.#missing], 8);
    return `Not in out/ any more, and laid out there again without being built: ${names}.`;
  }

  /** Counts the images that must have their published digests, and names those that are new. */
  publishedComparison(): PublishedComparison {
    const of = (wanted: InputsStatus) =>
      [...this.#standings].flatMap(([image, standing]) => (standing === wanted ? [image] : []));
    return { changed: of("changed"), undecided: of("open").length, held: of("published").length };
  }

  /**
   * Forecasts a run over all images noted, with the median duration that the ledger has of each.
   */
  async forecast(ledger: Ledger, slots: number): Promise<{ forecast: Forecast; text: string }> {
    const hasWork = [...this.#images.values()].some(({ status }) => isWork(status));
    // A ledger has every build ever made, so it is read only where something is built.
    const seconds = medianSeconds(hasWork ? (await ledger.readAll()).records : []);
    const images = new Map<string, ForecastImage>();
    for (const [name, noted] of this.#images)
      images.set(name, { ...noted, seconds: seconds.get(name) ?? null });
    const found = forecastRun(images, slots);
    return { forecast: found, text: formatForecast(found, slots) };
  }

  /** The images that will or may be built. */
  get imagesToBuild(): string[] {
    return [...this.#images].flatMap(([name, { status }]) => (isWork(status) ? [name] : []));
  }

  /** Computes the cost of building them on each of the fleets. */
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
