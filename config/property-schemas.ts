import { z } from "zod";
import { printableLine } from "../lib/text/printable.ts";
import { parseTaggedReference } from "../trust/signatures/image-reference.ts";

export const imageName = z.string().regex(/^[a-z0-9]+-[A-Za-z0-9_][A-Za-z0-9._+-]*$/, {
  error: 'not an image name (expected "<stage>-<package>", such as "core-busybox")',
});

/**
 * A text without control or invisible characters. Pulumi shows inputs unescaped, and takes
 * `<{%…%}>` in them for its own colours. A colour that it does not know ends the engine.
 */
export const printableText = z.string().refine((text) => printableLine(text) === text, {
  error: "contains a control or invisible character, or a command to a terminal or a CI system",
});

export const platform = z.string().regex(/^[a-z0-9]+\/[a-z0-9]+(\/[a-z0-9.]+)?$/, {
  error: 'not a platform (expected "<os>/<architecture>", such as "linux/amd64")',
});

/** The name of an image in signatures: with or without a registry's host, and always with a tag. */
export const taggedReference = z.string().refine(isTagged, {
  error: "not a repository with a tag (expected a name such as stagex/core-busybox:1.36.1)",
});

function isTagged(text: string): boolean {
  try {
    return parseTaggedReference(text) !== undefined;
  } catch {
    return false;
  }
}
