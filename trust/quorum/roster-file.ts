import { readRegularFile } from "../../lib/fs/regular-file.ts";
import { TrustError } from "../trust-error.ts";
import { parseRoster, type Roster } from "./roster.ts";

/** In bytes. StageX's MAINTAINERS has 6 KB. */
const maxRosterSize = 1024 * 1024;

/**
 * Reads a roster file: StageX's MAINTAINERS. The file may come with a stranger's tree, so no link
 * is followed.
 * @throws TrustError if the file can't be read, or is no roster
 */
export async function readRoster(file: string): Promise<Roster> {
  const bytes = await readRegularFile(file, maxRosterSize).catch((error: Error) => {
    throw new TrustError(`no roster: ${error.message}`);
  });
  return parseRoster(bytes.toString("utf8"), file);
}
