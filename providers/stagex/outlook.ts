import { recordedSeconds } from "../../distro/expected-seconds.ts";
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
    const seconds = recordedSeconds((await ledger.all()).records);
    const images = new Map<string, ForecastImage>();
    for (const [name, noted] of this.#images)
      images.set(name, { ...noted, seconds: seconds.get(name) ?? null });
    const found = forecast(images, slots);
    return { forecast: found, text: forecastText(found, slots) };
  }
}
