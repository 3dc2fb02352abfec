import { isDeepStrictEqual } from "node:util";
import { propertyPath } from "../../../config/check-failures.ts";
import { unknown } from "../../../pipeline/unknown-schema.ts";
import type { PropertyChange } from "./handler.ts";
import { type PropertyMap, type PropertyValue, unwrapSecrets } from "./property-values.ts";

/**
 * The properties that never cause an update, and those whose change replaces the resource, by their
 * outermost names.
 */
export type DiffRules = { readonly ignored: readonly string[]; readonly replacing: readonly string[] };

/**
 * Compares the program's properties with the state's. Returns one change for each innermost
 * property, in the order of their paths. A list is one property. An unknown differs from any value,
 * as it may turn out to be another.
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

/** Reports whether a value is a table, or null, which equals an empty table. */
function mayBeTable(value: PropertyValue): value is PropertyMap | null {
  return typeof value === "object" && !Array.isArray(value);
}

function names(...tables: readonly PropertyMap[]): string[] {
  return [...new Set(tables.flatMap((table) => Object.keys(table)))].sort();
}
