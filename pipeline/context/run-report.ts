import { appendFileSync } from "node:fs";
import { z } from "zod";

const entry = z.object({
  image: z.string(),
  origin: z.enum(["built", "ledger", "substituted", "unchanged", "failed"]),
  /**
   * Missing for an unchanged image, whose digest is in the state. A failed one has it on a digest
   * mismatch.
   */
  digest: z.string().optional(),
  /** Of a built image only. */
  seconds: z.number().optional(),
});

/** The result of one run for one image. An image without an entry was not reached. */
export type RunReportEntry = z.infer<typeof entry>;

/**
 * A file with one line of JSON for each image of a run, for the program that started the engine.
 * Times do not belong in the state. Without a file nothing is written.
 */
export class RunReport {
  readonly #file: string | undefined;

  constructor(file: string | undefined) {
    this.#file = file;
  }

  /** Writes synchronously: a line is short, and the engine may end this process at any time. */
  note(noted: RunReportEntry): void {
    if (this.#file) appendFileSync(this.#file, `${JSON.stringify(noted)}\n`);
  }
}

/**
 * Parses a run report. Later lines about an image complete or replace the values of earlier ones.
 */
export function parseRunReport(text: string): ReadonlyMap<string, RunReportEntry> {
  const entries = new Map<string, RunReportEntry>();
  for (const line of text.split("\n").filter((line) => line !== "")) {
    const noted = entry.parse(JSON.parse(line));
    entries.set(noted.image, { ...entries.get(noted.image), ...noted });
  }
  return entries;
}
