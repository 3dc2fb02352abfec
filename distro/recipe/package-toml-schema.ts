import { z } from "zod";
import { findNearestName } from "../../lib/text/nearest-name.ts";
import { quoted } from "../tree-error.ts";

/** A part of an image's name, as OCI allows it (distribution-spec, "Pulling manifests"). */
export const imageNamePattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;

/**
 * A version, which becomes a tag `:<version>` (distribution-spec, "Pulling manifests"), a build
 * argument and part of file names.
 */
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const hexPattern = /^[0-9a-f]{64}$/;

const text = z.string({ error: "a string in quotes" });
/** A template, bounded since each placeholder may stand for 255 characters. */
const template = text.max(2000, { error: "at most 2000 characters" });
const matching = (pattern: RegExp, allowed: string) =>
  z.string({ error: allowed }).regex(pattern, { error: allowed });
const nameSchema = matching(
  imageNamePattern,
  "lower-case letters and digits, joined by one of . _ or dashes",
);
const versionSchema = matching(
  tagPattern,
  "a version in quotes, up to 128 of A-Z a-z 0-9 . _ - (it becomes a tag)",
);
const distinct = (values: readonly string[]) => new Set(values).size === values.length;

const sourceSchema = z.object(
  {
    hash: matching(hexPattern, "a sha256 as 64 lower-case hex digits"),
    version: matching(
      /^[A-Za-z0-9_][A-Za-z0-9._+~-]{0,254}$/,
      "a version in quotes, up to 255 of A-Z a-z 0-9 . _ + ~ -",
    ).optional(),
    git_sha: matching(
      /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/,
      "a git commit as 40 or 64 lower-case hex digits",
    ).optional(),
    format: matching(/^[A-Za-z0-9._-]{0,255}$/, 'an archive format such as "tar.gz"').optional(),
    file: template.min(1, { error: "a file name, or no `file` at all" }).optional(),
    mirrors: z
      .array(template, { error: "an array of at least one URL" })
      .min(1, { error: "an array of at least one URL" }),
  },
  { error: "a [sources.NAME] table" },
);

export const packageSchema = z.object(
  {
    name: nameSchema,
    version: versionSchema.optional(),
    version_from: matching(/^[a-z0-9]+-[a-z0-9._-]+$/, 'an image, as "core-python"').optional(),
    // Builds do not read these fields: mistakes in them are warnings.
    description: z.unknown().optional(),
    license: z.unknown().optional(),
    licenses: z.unknown().optional(),
    website: z.unknown().optional(),
    subpackages: z
      .array(nameSchema, { error: "an array of names" })
      .refine(distinct, { error: "each name once" })
      .optional(),
    platforms: z
      .array(matching(/^[a-z0-9]+\/[a-z0-9_]+(?:\/[a-z0-9.]+)?$/, 'a platform, as "linux/amd64"'), {
        error: 'an array of platforms, as ["linux/386"]',
      })
      .refine(distinct, { error: "each platform once" })
      .optional(),
  },
  { error: "a [package] table" },
);

export const fileSchema = z.object({
  package: packageSchema,
  sources: z
    .record(z.string(), sourceSchema, {
      error: "tables [sources.NAME]",
    })
    .optional(),
});

/** A problem with its field's path in the file; the line is looked up only for a problem. */
export type FieldProblem = { path: readonly PropertyKey[]; found: string; allowed: string };

const knownFields = {
  top: Object.keys(fileSchema.shape),
  package: Object.keys(packageSchema.shape),
  source: Object.keys(sourceSchema.shape),
};

/**
 * Finds fields that are nearly a known one: probably slips, which would silently change the build.
 * Other unknown fields are accepted, as in StageX's own reader, since a later release may add
 * metadata.
 */
export function misspelledFields(raw: unknown): Slip[] {
  const sources = Object.entries(tableAt(raw, ["sources"]));
  return [
    ...slipsIn(raw, [], knownFields.top),
    ...slipsIn(raw, ["package"], knownFields.package),
    ...sources.flatMap(([name]) => slipsIn(raw, ["sources", name], knownFields.source)),
  ];
}

/** Checks the names of sources: each becomes the start of a build argument's name. */
export function sourceNameProblems(raw: unknown): FieldProblem[] {
  return Object.keys(tableAt(raw, ["sources"]))
    .filter((name) => !/^[A-Za-z0-9][A-Za-z0-9_.+-]*$/.test(name))
    .map((name) => {
      const allowed = "a name of A-Z a-z 0-9 _ . + - that starts with a letter or digit";
      return { path: ["sources", name], found: quoted(name), allowed };
    });
}

/** A field that is nearly a known one. */
type Slip = FieldProblem & { meant: string };

function slipsIn(raw: unknown, path: readonly string[], known: readonly string[]): Slip[] {
  const unknown = Object.keys(tableAt(raw, path)).filter((key) => !known.includes(key));
  return unknown.flatMap((key) => {
    const meant = findNearestName(key, known);
    return meant === undefined
      ? []
      : [{ path: [...path, key], found: quoted(key), allowed: `${meant} (is it meant?)`, meant }];
  });
}

function tableAt(raw: unknown, path: readonly PropertyKey[]): object {
  const value = valueAt(raw, path);
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

export function valueAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  let value = raw;
  for (const key of path) {
    value = typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
  }
  return value;
}
