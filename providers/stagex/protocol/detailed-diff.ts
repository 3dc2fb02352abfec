import { isDeepStrictEqual } from "node:util";
import { propertyPath } from "../../../config/check-failures.ts";
import { unknown } from "../../../pipeline/unknown-schema.ts";
import type { PropertyChange } from "./handler.ts";
import { type PropertyMap, type PropertyValue, unwrapSecrets } from "./property-values.ts";

/** What of a resource's properties never matters, and what can't be changed in place. Names of the outermost level. */
export type DiffRules = { readonly ignored: readonly string[]; readonly replacing: readonly string[] };

/**
 * How the program's properties differ from the state's: one change for each innermost property, in the order of their
 * paths. A list is one property; an unknown differs from anything, as nobody can say yet that it doesn't.
 */
export function detailedDiff(before: PropertyMap, after: PropertyMap, rules: DiffRules): PropertyChange[] {
  return names(before, after)
    .filter((name) => !rules.ignored.includes(name))
    .flatMap((name) => innermost([name], before[name], after[name]))
    .map((change) => ({ ...change, replaces: rules.replacing.includes(change.name) }))
    .map(({ path, kind, replaces }) => ({ path, kind, replaces }));
}

type Change = Pick<PropertyChange, "path" | "kind"> & { readonly name: string };

function innermost(
  path: readonly string[],
  before: PropertyValue | undefined,
  after: PropertyValue | undefined,
): Change[] {
  const old: PropertyValue = unwrapSecrets(before);
  const current: PropertyValue = unwrapSecrets(after);
  if (mayBeTable(old) && mayBeTable(current)) {
    const [left, right] = [old ?? {}, current ?? {}];
    return names(left, right).flatMap((name) => innermost([...path, name], left[name], right[name]));
  }
  if (current !== unknown && isDeepStrictEqual(old, current)) return [];
  const kind = old === null ? "add" : current === null ? "delete" : "update";
  return [{ name: path[0] ?? "", path: propertyPath(path), kind }];
}

/** A table, or nothing, which is no other than a table without entries. */
function mayBeTable(value: PropertyValue): value is PropertyMap | null {
  return typeof value === "object" && !Array.isArray(value);
}

function names(...tables: readonly PropertyMap[]): string[] {
  return [...new Set(tables.flatMap((table) => Object.keys(table)))].sort();
}
