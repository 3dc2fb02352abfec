import { appendFile } from "node:fs/promises";
import { z } from "zod";

const entry = z.object({
  image: z.string(),
  digest: z.string(),
  origin: z.enum(["built", "ledger", "substituted"]),
  /** Only of a built one. */
  seconds: z.number().optional(),
});

/** What one run did to one image. */
export type JournalEntry = z.infer<typeof entry>;

/**
 * A file in which the provider notes what a run did, a line of JSON an image, for whoever started the engine and wants to
 * tell: times don't belong in the state. Without a file nothing is noted.
 */
export class Journal {
  readonly #file: string | undefined;

  constructor(file: string | undefined) {
    this.#file = file;
  }

  async note(noted: JournalEntry): Promise<void> {
    if (this.#file) await appendFile(this.#file, `${JSON.stringify(noted)}\n`);
  }
}

/** The entries in a journal's text by image; the last one counts. */
export function parseJournal(text: string): ReadonlyMap<string, JournalEntry> {
  const lines = text.split("\n").filter((line) => line !== "");
  return new Map(lines.map((line) => entry.parse(JSON.parse(line))).map((noted) => [noted.image, noted]));
}
