import { type Cost, costTable, type PricedFleet, type Prices } from "../../distro/cost.ts";
import { type Expectation, recordedSeconds, secondsTogether } from "../../distro/expected-seconds.ts";
import {
  type Forecast,
  type ForecastImage,
  forecast,
  forecastText,
  type Verdict,
} from "../../distro/forecast.ts";
import type { Ledger } from "../../distro/ledger.ts";

/** What the engine has asked of each image so far in a preview, and so what a run would do. */
export class Outlook {
  readonly #images = new Map<string, { verdict: Verdict; dependencies: readonly string[] }>();

  note(image: string, verdict: Verdict, dependencies: readonly string[]): void {
    this.#images.set(image, { verdict, dependencies });
  }

  /** The forecast over all images noted; durations are what the ledger has recorded, the middle one of each image. */
  async forecast(ledger: Ledger, slots: number): Promise<{ forecast: Forecast; text: string }> {
    const hasWork = [...this.#images.values()].some(({ verdict }) => isWork(verdict));
    // A ledger has every build there ever was: not read where nothing will be.
    const seconds = recordedSeconds(hasWork ? (await ledger.all()).records : []);
    const images = new Map<string, ForecastImage>();
    for (const [name, noted] of this.#images)
      images.set(name, { ...noted, seconds: seconds.get(name) ?? null });
    const found = forecast(images, slots);
    return { forecast: found, text: forecastText(found, slots) };
  }

  /** The images that are built, or may have to be. */
  get work(): string[] {
    return [...this.#images].flatMap(([name, { verdict }]) => (isWork(verdict) ? [name] : []));
  }

  /** What it costs on each of the fleets to build what may have to be built. */
  costs(expected: ReadonlyMap<string, Expectation>, fleets: readonly PricedFleet[], prices: Prices): Cost[] {
    const built = [...this.#images].filter(([, { verdict }]) => isWork(verdict));
    const seconds = secondsTogether(
      built.map(([name]) => name),
      expected,
    );
    const images = new Map(
      built.map(([name, noted]) => [name, { ...noted, seconds: seconds.get(name) ?? null }]),
    );
    return images.size === 0 ? [] : costTable(images, fleets, prices);
  }
}

function isWork(verdict: Verdict): boolean {
  return verdict === "will" || verdict === "may";
}
