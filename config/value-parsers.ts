import { z } from "zod";
import { parseRegistryAddress, type RegistryAddress } from "../oci/registry/registry-address.ts";
import { parseRepository } from "../trust/signatures/image-reference.ts";

/** Parses a JSON list of texts, at least one. */
export function list(example: string) {
  return fromText(z.array(z.string().min(1)).min(1), `a JSON list such as '["${example}"]'`);
}

export function flag() {
  return fromText(z.boolean(), "true or false");
}

/** Parses a whole number. */
export function count(least = 1) {
  return fromText(z.int().min(least).max(1000), `a whole number from ${least} to 1000`);
}

/**
 * Parses the beginning of a repository's name: `stagex`, or with a registry's host
 * `registry.example/stagex`.
 */
export function namespace() {
  return z.string().refine(
    (text) => {
      try {
        return parseRepository(`${text}/image`) !== undefined;
      } catch {
        return false;
      }
    },
    { error: "no repository begins with this (expected a text such as stagex or registry.example/stagex)" },
  );
}

/**
 * Parses the name of a key. Refuses a key itself: the configuration is written into Pulumi's state.
 */
export function signingKey() {
  return z
    .string()
    .min(1)
    .max(4096)
    .refine((text) => !/PRIVATE KEY|\n/.test(text), {
      error:
        "this is a key, not the name of one; remove it from the configuration and its history, and set its fingerprint or the path of a file",
    });
}

/** Parses `record`, `replay` or `none`, or a table with one of them as its `mode`. */
export function network() {
  const networkModes = ["record", "replay", "none"] as const;
  const mode = z.enum(networkModes, { error: `expected ${networkModes.join(", ")}` });
  const command = z
    .string()
    .regex(/^\S+(?: \S+)*$/, { error: "not a command (expected a text such as `make deps`)" });
  const table = z.strictObject({
    mode: mode.default("record"),
    hosts: z.array(z.string().min(1)).min(1).optional(),
    private: z.array(z.string().min(1)).default([]),
    fetchers: z.record(z.string().min(1), z.array(command).min(1)).default({}),
  });
  const parsed = structured(table, '{"mode":"replay"}');
  return z
    .unknown()
    .transform((value) => (networkModes.some((name) => name === value) ? { mode: value } : value))
    .pipe(parsed);
}

/** Parses a table with a schema of its own. Its failures keep their path in the table. */
export function structured<Known>(known: z.ZodType<Known>, example: string) {
  return z.unknown().transform((value, context): Known => {
    const parsed = typeof value === "string" ? jsonOr(value) : value;
    if (typeof parsed !== "object" || parsed === null) {
      context.addIssue({ code: "custom", message: `expected a JSON table such as '${example}'` });
      return z.NEVER;
    }
    const result = known.safeParse(parsed);
    if (result.success) return result.data;
    for (const issue of result.error.issues) {
      const unknownKeys = issue.code === "unrecognized_keys" ? issue.keys : [];
      for (const key of unknownKeys)
        context.addIssue({ code: "custom", path: [...issue.path, key], message: "no such key" });
      if (unknownKeys.length === 0)
        context.addIssue({ code: "custom", path: issue.path, message: issue.message });
    }
    return z.NEVER;
  });
}

/** Parses the address of one registry. */
export function registry() {
  return z.unknown().transform((value, context): RegistryAddress => {
    try {
      return parseRegistryAddress(String(value));
    } catch (error) {
      context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
      return z.NEVER;
    }
  });
}

/** Parses the address of one registry, or a JSON list of them. */
export function registries() {
  return z.unknown().transform((value, context): readonly RegistryAddress[] => {
    const listed = z
      .array(z.string())
      .min(1)
      .safeParse(typeof value === "string" ? jsonOr(value) : value);
    try {
      return (listed.data ?? [String(value)]).map(parseRegistryAddress);
    } catch (error) {
      context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
      return z.NEVER;
    }
  });
}

/** Parses a value, or its JSON text. */
export function fromText<Known>(known: z.ZodType<Known>, expected: string) {
  return z.unknown().transform((value, context): Known => {
    const result = known.safeParse(typeof value === "string" ? jsonOr(value) : value);
    if (result.success) return result.data;
    context.addIssue({ code: "custom", message: `found ${JSON.stringify(value)}, expected ${expected}` });
    return z.NEVER;
  });
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
