import { isDeepStrictEqual } from "node:util";
import { propertyPath } from "../../../config/check-failures.ts";
import { unknown } from "../../../pipeline/unknown-schema.ts";
import type { PropertyChange } from "./handler.ts";
import { type Properties, reveal, type Value } from "./property-values.ts";

/** What of a resource's properties never matters, and what can't be changed in place. Names of the outermost level. */
export type ChangeRules = { readonly ignored: readonly string[]; readonly replacing: readonly string[] };

/**
 * How the program's properties differ from the state's: one change for each innermost property, in the order of their
 * paths. A list is one property; an unknown differs from anything, as nobody can say yet that it doesn't.
 */
export function changesBetween(before: Properties, after: Properties, rules: ChangeRules): PropertyChange[] {
  return names(before, after)
    .filter((name) => !rules.ignored.includes(name))
    .flatMap((name) => innermost([name], before[name], after[name]))
    .map((change) => ({ ...change, replaces: rules.replacing.includes(change.name) }))
    .map(({ path, kind, replaces }) => ({ path, kind, replaces }));
}

type Change = Pick<PropertyChange, "path" | "kind"> & { readonly name: string };

function innermost(path: readonly string[], before: Value | undefined, after: Value | undefined): Change[] {
  const old: Value = reveal(before);
  const current: Value = reveal(after);
  if (mayBeTable(old) && mayBeTable(current)) {
    const [left, right] = [old ?? {}, current ?? {}];
    return names(left, right).flatMap((name) => innermost([...path, name], left[name], right[name]));
  }
  if (current !== unknown && isDeepStrictEqual(old, current)) return [];
  const kind = old === null ? "add" : current === null ? "delete" : "update";
  return [{ name: path[0] ?? "", path: propertyPath(path), kind }];
}

/** A table, or nothing, which is no other than a table without entries. */
function mayBeTable(value: Value): value is Properties | null {
  return typeof value === "object" && !Array.isArray(value);
}

function names(...tables: readonly Properties[]): string[] {
  return [...new Set(tables.flatMap((table) => Object.keys(table)))].sort();
}
