import { type Printable, printable, printableLines } from "../lib/text/printable.ts";
import { quoteShellWord } from "../lib/text/shell-word.ts";
import type { CheckFailure } from "./check-failures.ts";

type ConfigValues = Readonly<Record<string, unknown>>;

/** The keys that have a new name: old to new. The old name still works. */
export const renamedKeys: Readonly<Record<string, string>> = {
  registry: "substituteFrom",
  trust: "substituteTrust",
  publish: "publishTo",
  exchange: "fleetRegistry",
  lookaside: "publishSignaturesTo",
};

/** Returns the configuration with each key under its new name. */
export function withNewNames(values: ConfigValues): ConfigValues {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [renamedKeys[key] ?? key, value]));
}

/** Returns the name under which the configuration has a key: the old one where only that is set. */
export function givenName(values: ConfigValues, key: string): string {
  return oldNames(values).find((old) => renamedKeys[old] === key && values[key] === undefined) ?? key;
}

/** Refuses a key that is set under both its names. */
export function checkRenamedKeys(values: ConfigValues): CheckFailure[] {
  return oldNames(values)
    .filter((old) => values[renamedKeys[old] ?? old] !== undefined)
    .map((old) => ({
      property: old,
      reason: `is the old name of stagex:${renamedKeys[old]}, and both are set; remove it: pulumi config rm stagex:${old}`,
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
  const renamed = old.map((key) => `stagex:${key} is now stagex:${renamedKeys[key]}`).join(", ");
  const on = stack === undefined ? "" : ` --stack ${quoteShellWord(stack)}`;
  const commands = old.map(
    (key) =>
      printable`  pulumi config set stagex:${renamedKeys[key] ?? key} "$(pulumi config get stagex:${key}${on})"${on} && pulumi config rm stagex:${key}${on}`,
  );
  return printableLines([printable`${renamed}. The old names still work. Rename them with:`, ...commands]);
}

function oldNames(values: ConfigValues): string[] {
  return Object.keys(renamedKeys).filter((key) => values[key] !== undefined);
}
