import { readRegularFile } from "../../lib/fs/regular-file.ts";
import { TrustError } from "../trust-error.ts";
import { parseRoster, type Roster } from "./roster.ts";

/** In bytes. StageX's MAINTAINERS has 6 KB. */
const maxRosterSize = 1024 * 1024;

/**
 * Reads the roster in a file: StageX's MAINTAINERS. A tree of others brings it along, so no link is followed.
 * @throws TrustError where there is none, or it can't be read as one
 */
export async function readRoster(file: string): Promise<Roster> {
  const bytes = await readRegularFile(file, maxRosterSize).catch((error: Error) => {
    throw new TrustError(`no roster: ${error.message}`);
  });
  return parseRoster(bytes.toString("utf8"), file);
}
