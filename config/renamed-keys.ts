import { type Printable, printable, printableLines } from "../lib/text/printable.ts";
import { quoteShellWord } from "../lib/text/shell-word.ts";
import type { CheckFailure } from "./check-failures.ts";

type ConfigValues = Readonly<Record<string, unknown>>;

/** The keys that have a new name: old to new. The old name still works. */
export const renamedKeys: ReadonlyMap<string, string> = new Map([
  ["registry", "substituteFrom"],
  ["trust", "substituteTrust"],
  ["publish", "publishTo"],
  ["exchange", "fleetRegistry"],
  ["lookaside", "publishSignaturesTo"],
]);

/** Returns the configuration with each key under its new name. */
export function withNewNames(values: ConfigValues): ConfigValues {
  const set = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(set.map(([key, value]) => [renamedKeys.get(key) ?? key, value]));
}

/** Returns the name under which the configuration has a key: the old one where only that is set. */
export function givenName(values: ConfigValues, key: string): string {
  const old = oldNames(values).find(([, name]) => name === key && values[name] === undefined);
  return old?.[0] ?? key;
}

/** Refuses a key that is set under both its names. */
export function checkRenamedKeys(values: ConfigValues): CheckFailure[] {
  return oldNames(values)
    .filter(([, name]) => values[name] !== undefined)
    .map(([old, name]) => ({
      property: old,
      reason: `is the old name of stagex:${name}, and both are set; remove it: pulumi config rm stagex:${old}`,
    }));
}

/**
 * Returns one warning that names each old key with its new name, and the command that changes it;
 * undefined if no old name is used. It quotes no value: the configuration may hold it as a secret.
 * @param stack the stack that the command names. Default: the selected one.
 */
export function renamedKeysWarning(values: ConfigValues, stack?: string): Printable | undefined {
  const old = oldNames(values);
  if (old.length === 0) return undefined;
  const renamed = old.map(([key, name]) => `stagex:${key} is now stagex:${name}`).join(", ");
  const on = stack === undefined ? "" : ` --stack ${quoteShellWord(stack)}`;
  const commands = old.map(
    ([key, name]) =>
      printable`  pulumi config set stagex:${name} "$(pulumi config get stagex:${key}${on})"${on} && pulumi config rm stagex:${key}${on}`,
  );
  return printableLines([printable`${renamed}. The old names still work. Rename them with:`, ...commands]);
}

/** Returns the old names that are set, each with its new name. */
function oldNames(values: ConfigValues): [old: string, name: string][] {
  return [...renamedKeys].filter(([key]) => values[key] !== undefined);
}
