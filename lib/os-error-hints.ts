import { errorCode } from "./fs/error-code.ts";
import { printable } from "./text/printable.ts";

/** Hints for errors of the operating system (errno(3)). */
const hints: Readonly<Record<string, string>> = {
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

/**
 * Returns an error's message, with a hint where the machine is the cause. The whole is escaped: the
 * system's messages quote paths, which may have any name.
 */
export function withHint(error: Error): string {
  const hint = hints[errorCode(error) ?? ""];
  return hint === undefined ? error.message : printable`${error.message}. ${hint}.`;
}
