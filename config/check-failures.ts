import type { z } from "zod";

/** A refused property: its path in the engine's notation, and the reason. */
export type CheckFailure = { readonly property: string; readonly reason: string };

/** Returns a failure for each of zod's issues, at the innermost property that it concerns. */
export function toCheckFailures(error: z.ZodError): CheckFailure[] {
  return error.issues.flatMap((issue) => failuresOf(issue, []));
}

function failuresOf(issue: z.core.$ZodIssue, outer: readonly PropertyKey[]): CheckFailure[] {
  const path = [...outer, ...issue.path];
  // In a preview's schema, "… or unknown", the first alternative is the property's own.
  const alternative = issue.code === "invalid_union" ? issue.errors[0] : undefined;
  if (alternative?.length) return alternative.flatMap((inner) => failuresOf(inner, path));
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({ property: propertyPath([...path, key]), reason: "no such property" }));
  }
  if (issue.code === "invalid_key") {
    const reasons = issue.issues.map(({ message }) => message).join("; ");
    return [{ property: propertyPath(path), reason: reasons }];
  }
  return [{ property: propertyPath(path), reason: issue.message }];
}

/**
 * Writes a path in the engine's notation: `dependencies["core-musl"]`, `platforms[0]` (sdk:
 * property_path.go).
 */
export function propertyPath(path: readonly PropertyKey[]): string {
  return path
    .map((part, index) => {
      if (typeof part === "number") return `[${part}]`;
      const name = String(part);
      if (/^[A-Za-z_$][\w$]*$/.test(name)) return index === 0 ? name : `.${name}`;
      return `["${name.replaceAll('"', '\\"')}"]`;
    })
    .join("");
}
