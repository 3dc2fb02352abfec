import { printable } from "./text/printable.ts";

/** What to do about an error of the operating system (errno(3)). */
const mends: Readonly<Record<string, string>> = {
  ENOSPC: "The disk is full: make room, and run the same command again",
  EDQUOT: "This user's share of the disk is used up: make room, and run the same command again",
  EROFS: "It lies on a file system that is read-only",
  EACCES:
    "This user may not write there: look at its owner (ls -ld) and, after a run with sudo, take it back (chown)",
  EPERM:
    "This user may not do that there: look at its owner (ls -ld) and, after a run with sudo, take it back (chown)",
  ENOTDIR: "Something that is no folder is in its place: move it away",
  EEXIST: "Something that is no folder is in its place: move it away",
  EMFILE: "Too many files are open: ulimit -n 4096, and run the same command again",
};

/** An error's message and, where the machine is to blame, what mends it. The system's messages have paths in them, whatever their names. */
export function withHint(error: Error): string {
  const mend = mends[String((error as NodeJS.ErrnoException).code)];
  return mend === undefined ? error.message : printable`${error.message}. ${mend}.`;
}
