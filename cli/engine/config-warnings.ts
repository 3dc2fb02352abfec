import { renamedKeysWarning } from "../../config/renamed-keys.ts";
import type { ConfigValues } from "../../config/schema.ts";
import { printableBlock } from "../../lib/text/printable.ts";
import { printError } from "../../lib/text/terminal.ts";

const warned = new Set<string>();

/**
 * Warns on stderr, once, of a stack's config keys with old names. In runs of the engine, the
 * provider does.
 */
export function printConfigWarnings(stack: string, values: ConfigValues): void {
  const warning = warned.has(stack) ? undefined : renamedKeysWarning(values, stack);
  if (warning !== undefined) printError(printableBlock(`stagex: warning: ${warning}`));
  warned.add(stack);
}
