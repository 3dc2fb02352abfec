import type { Tree } from "../../distro/tree/tree.ts";
import { formatWarnings } from "../../distro/tree-error.ts";
import { printable } from "../../lib/text/printable.ts";
import { printError } from "../../lib/text/terminal.ts";

/** Prints on stderr what is wrong with a tree and changes no build. */
export function printTreeWarnings({ warnings }: Pick<Tree, "warnings">): void {
  for (const line of formatWarnings(warnings)) printError(printable`stagex: warning: ${line}`);
}
