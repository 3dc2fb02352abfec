import { readFile } from "node:fs/promises";
import { type Roster, readRoster } from "./roster.ts";
import { TrustError } from "./trust-error.ts";

/** The roster in a file: StageX's MAINTAINERS. Throws a TrustError where there is none, or it can't be read as one. */
export async function rosterFile(file: string): Promise<Roster> {
  const text = await readFile(file, "utf8").catch((error: Error) => {
    throw new TrustError(`no roster: ${error.message}`);
  });
  return readRoster(text, file);
}
