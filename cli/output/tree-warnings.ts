import type { Tree } from "../../distro/tree/tree.ts";
import { formatWarnings } from "../../distro/tree-error.ts";
import { printable } from "../../lib/text/printable.ts";
import { printError } from "../../lib/text/terminal.ts";

/** Prints the problems of a tree that change no build on stderr. */
export function printTreeWarnings({ warnings }: Pick<Tree, "warnings">): void {
  for (const line of formatWarnings(warnings)) printError(printable`stagex: warning: ${line}`);
}
