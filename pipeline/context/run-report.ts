import { appendFileSync } from "node:fs";
import { z } from "zod";

const entry = z.object({
  image: z.string(),
  origin: z.enum(["built", "ledger", "substituted", "unchanged", "failed"]),
  /** The state has that of an unchanged image. A failed one has it if it came out as another than was expected. */
  digest: z.string().optional(),
  /** Only of a built one. */
  seconds: z.number().optional(),
});

/** What one run did to one image. An image without an entry was not reached. */
export type RunReportEntry = z.infer<typeof entry>;

/**
 * A file in which the provider notes what a run did, a line of JSON an image, for whoever started the engine and wants to
 * tell: times don't belong in the state. Without a file nothing is noted.
 */
export class RunReport {
  readonly #file: string | undefined;

  constructor(file: string | undefined) {
    this.#file = file;
  }

  /** Notes it before it returns: a line is short, and the engine may end this process at any time. */
  note(noted: RunReportEntry): void {
    if (this.#file) appendFileSync(this.#file, `${JSON.stringify(noted)}\n`);
  }
}

/** The entries in a journal's text by image: what was noted last, with what was known before. */
export function parseRunReport(text: string): ReadonlyMap<string, RunReportEntry> {
  const entries = new Map<string, RunReportEntry>();
  for (const line of text.split("\n").filter((line) => line !== "")) {
    const noted = entry.parse(JSON.parse(line));
    entries.set(noted.image, { ...entries.get(noted.image), ...noted });
  }
  return entries;
}
