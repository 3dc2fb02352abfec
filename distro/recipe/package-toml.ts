import { parse, TomlError } from "smol-toml";
import { z } from "zod";
import { findNearestName } from "../../lib/text/nearest-name.ts";
import { printableLine } from "../../lib/text/printable.ts";
import type { Source } from "../build-plan.ts";
import { maxProblemsPerFile, quoted, TreeError, type TreeProblem } from "../tree-error.ts";
import { expandPlaceholders, PlaceholderError, type VersionForms, versionForms } from "./placeholder.ts";
import { fieldLines } from "./toml-line.ts";

/** A `[sources.NAME]` section as it is written, placeholders not yet expanded (package.toml(5)). */
export type SourceSection = {
  readonly name: string;
  /** sha256 of the file, 64 hex digits. */
  readonly hash: string;
  /** The source's own version; null where it has the package's. */
  readonly version: string | null;
  readonly gitSha: string | null;
  /** Empty where none is given. */
  readonly format: string;
  /** Template of the file's name; null where it is the last part of the mirrors' paths. */
  readonly file: string | null;
  /** Templates of URLs, in the order to try them; never empty. */
  readonly mirrors: readonly string[];
};

/** A package.toml, parsed: every field of package.toml(5), and `platforms`, which that page does not list. */
export type PackageToml = {
  readonly name: string;
  /** Null where there is a `versionFrom`, or no version at all (a file system, a profile). */
  readonly version: string | null;
  /** The image whose version this package has. */
  readonly versionFrom: string | null;
  /** Empty where there is none. */
  readonly description: string;
  readonly license: string | null;
  readonly website: string | null;
  /** Each is an image of its own, and then the package itself is none. */
  readonly subpackages: readonly string[];
  /** Empty where the package is built for whatever platform is asked for. */
  readonly platforms: readonly string[];
  readonly sources: readonly SourceSection[];
  /** What StageX's `src/fetch.py` would fetch for them, in the order of the file. */
  readonly resolvedSources: readonly Source[];
};

/** What stands in the file, before its templates are expanded. */
type WrittenPackage = Omit<PackageToml, "resolvedSources">;

/** A part of an image's name, as an OCI repository may be called (distribution-spec, "Pulling manifests"). */
export const imageNamePattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;

/** A version becomes a tag `:<version>` (distribution-spec, "Pulling manifests"), a build argument and part of file names. */
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const hexPattern = /^[0-9a-f]{64}$/;

const text = z.string({ error: "a string in quotes" });
/** Bounded, since each placeholder may stand for 255 characters. */
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

const packageSchema = z.object(
  {
    name: nameSchema,
    version: versionSchema.optional(),
    version_from: matching(/^[a-z0-9]+-[a-z0-9._-]+$/, 'an image, as "core-python"').optional(),
    // What is wrong with these is a warning: no build reads them.
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

const fileSchema = z.object({
  package: packageSchema,
  sources: z
    .record(z.string(), sourceSchema, {
      error: "tables [sources.NAME]",
    })
    .optional(),
});

/** A problem by its field's path in the file; the line is looked up once it is known that there is a problem. */
type FieldProblem = { path: readonly PropertyKey[]; found: string; allowed: string };

/**
 * Parses the text of a package.toml.
 * @param file the path that errors name
 * @param warnings gets what is wrong with fields that no build reads
 * @throws TreeError with every problem of the file
 */
export function parsePackageToml(file: string, content: string, warnings: TreeProblem[] = []): PackageToml {
  const raw = parseToml(file, content);
  const [misspelledMetadata, misspelled] = partition(misspelledFields(raw), ({ meant }) => isMetadata(meant));
  const slips = [...misspelled, ...sourceNameProblems(raw)];
  const parsed = fileSchema.safeParse(raw);
  if (!parsed.success) {
    throw errorOf(file, content, [...slips, ...parsed.error.issues.map((issue) => zodProblem(raw, issue))]);
  }
  const written = packageOf(parsed.data);
  const problems = [...slips, ...versionProblems(written)];
  const fetched = fetchedSources(written, problems);
  if (problems.length > 0) throw errorOf(file, content, problems);
  const unread = [...metadataProblems(parsed.data.package), ...misspelledMetadata];
  if (unread.length > 0) warnings.push(...located(file, content, unread));
  return { ...written, resolvedSources: fetched };
}

/** Fields of `[package]` that no build reads. */
const metadataFields = ["description", "license", "licenses", "website"] as const;

function isMetadata(field: string): boolean {
  return metadataFields.some((name) => name === field);
}

/**
 * package.toml(5) requires a license as well; most packages of every release so far have none, and some have `licenses`, so only a
 * missing description is a fault.
 */
function metadataProblems(own: z.infer<typeof packageSchema>): FieldProblem[] {
  return metadataFields
    .filter((name) => typeof own[name] !== "string" && (own[name] !== undefined || name === "description"))
    .map((name) => ({ path: ["package", name], found: quoted(own[name]), allowed: "a string in quotes" }));
}

function partition<T>(all: readonly T[], isFirst: (one: T) => boolean): [T[], T[]] {
  return [all.filter(isFirst), all.filter((one) => !isFirst(one))];
}

function textOr<Other>(value: unknown, other: Other): string | Other {
  return typeof value === "string" ? value : other;
}

function packageOf({ package: own, sources }: z.infer<typeof fileSchema>): WrittenPackage {
  return {
    name: own.name,
    version: own.version ?? null,
    versionFrom: own.version_from ?? null,
    description: textOr(own.description, ""),
    license: textOr(own.license, textOr(own.licenses, null)),
    website: textOr(own.website, null),
    subpackages: own.subpackages ?? [],
    platforms: own.platforms ?? [],
    sources: Object.entries(sources ?? {}).map(([name, section]) => ({
      name,
      hash: section.hash,
      version: section.version ?? null,
      gitSha: section.git_sha ?? null,
      format: section.format ?? "",
      file: section.file ?? null,
      mirrors: section.mirrors,
    })),
  };
}

/**
 * The build arguments that StageX's `src/targets.py` passes besides its three constant ones.
 * @param version the package's version, `version_from` resolved; null where it has none
 */
export function buildArgsOf(toml: PackageToml, version: string | null): Record<string, string> {
  const args: Record<string, string> = {};
  const forms = version === null ? null : versionForms(version);
  if (forms !== null) for (const { name, form } of formArgs) args[name] = forms[form];
  for (const section of toml.sources) {
    const prefix = section.name.toUpperCase();
    if (section.version !== null) {
      args[`${prefix}_VERSION`] = section.version;
      args[`${prefix}_SOURCE`] = expandPlaceholders(
        fileTemplate(section, 0),
        generatorValues(section, forms),
      );
    }
    if (section.gitSha !== null) args[`${prefix}_GIT_SHA`] = section.gitSha;
  }
  return args;
}

/**
 * What the generator expands in a `*_SOURCE` argument: fewer placeholders than fetch.py, and the *package's* dashes and
 * underscores beside the *source's* version. So the argument can differ from the fetched file's name; it is passed as it is.
 */
function generatorValues(
  { version, format }: Pick<SourceSection, "version" | "format">,
  forms: VersionForms | null,
): Record<string, string> {
  const { version_dash = "", version_under = "" } = forms ?? {};
  return { version: version ?? "", version_dash, version_under, format };
}

/** The build argument of each form of a version. */
const formArgs = (Object.keys(versionForms("")) as (keyof VersionForms)[]).map((form) => ({
  name: form.toUpperCase(),
  form,
}));

const generatorNames = Object.keys(generatorValues({ version: null, format: "" }, null));

/**
 * What fetch.py expands: the source's version, else the package's own (never that of `version_from`, where it would
 * write "None" into a file's name: here such a placeholder is unknown).
 */
function fetchValues(toml: WrittenPackage, section: SourceSection): Record<string, string> {
  const version = section.version ?? toml.version;
  return { ...(version === null ? {} : versionForms(version)), format: section.format };
}

/** `file`, or the last part of the mirror's path, as Python's urlsplit finds it (no query, no fragment). */
function fileTemplate(section: SourceSection, mirror: number): string {
  if (section.file !== null) return section.file;
  const path = /^(?:[^:/?#]+:)?(?:\/\/[^/?#]*)?([^?#]*)/.exec(section.mirrors[mirror] ?? "")?.[1] ?? "";
  return path.slice(path.lastIndexOf("/") + 1);
}

function versionProblems(toml: WrittenPackage): FieldProblem[] {
  if (toml.version === null || toml.versionFrom === null) return [];
  const found = `${quoted(toml.versionFrom)} beside version = ${quoted(toml.version)}`;
  return [{ path: ["package", "version_from"], found, allowed: "either a version or a version_from" }];
}

/** Expands the sources; what is wrong with them goes to the problems. */
function fetchedSources(toml: WrittenPackage, problems: FieldProblem[]): Source[] {
  const files = new Map<string, string>();
  const prefixes = new Map<string, string>();
  return toml.sources.flatMap((section) => {
    const path = ["sources", section.name];
    const prefix = section.name.toUpperCase();
    const twin = prefixes.get(prefix);
    prefixes.set(prefix, section.name);
    if (twin !== undefined) {
      const allowed = "names that differ in more than case: both would be the same build argument";
      problems.push({ path, found: `${section.name} beside ${twin}`, allowed });
    }
    const source = fetchedSource(toml, section, problems);
    if (source === undefined) return [];
    const { file } = source;
    const other = files.get(file);
    files.set(file, section.name);
    if (other !== undefined) {
      const field = section.file === null ? "mirrors" : "file";
      const found = `the file ${quoted(file)}, which sources.${other} has too`;
      problems.push({ path: [...path, field], found, allowed: "each file name once" });
    }
    return [source];
  });
}

const fileRule = "a plain file name: no / or \\, no leading dot, no control or invisible characters";

/** Expands one source; undefined where something is wrong with it, which goes to the problems. */
function fetchedSource(
  toml: WrittenPackage,
  section: SourceSection,
  problems: FieldProblem[],
): Source | undefined {
  const known = problems.length;
  const path = ["sources", section.name];
  const values = fetchValues(toml, section);
  const ofBoth = section.version === null ? values : narrowed(values);
  const fieldOf = (mirror: number) => [...path, ...(section.file === null ? ["mirrors", mirror] : ["file"])];
  const file = expanded(fieldOf(0), fileTemplate(section, 0), ofBoth, problems);
  if (file === undefined) return undefined;
  if (!isPlainFileName(file)) {
    problems.push({ path: fieldOf(0), found: quoted(file), allowed: fileRule });
    return undefined;
  }
  const withFile = { ...values, file };
  const mirrors = section.mirrors.map((mirror, index) => {
    const name =
      section.file === null && index > 0
        ? expanded(fieldOf(index), fileTemplate(section, index), ofBoth, problems)
        : file;
    if (name !== undefined && name !== file) {
      const allowed = `mirrors that all end in ${quoted(file)}, or a \`file\``;
      problems.push({ path: fieldOf(index), found: quoted(name), allowed });
    }
    const place = [...path, "mirrors", index];
    const url = expanded(place, mirror, withFile, problems);
    if (url !== undefined && !isUrl(url))
      problems.push({ path: place, found: quoted(url), allowed: "a URL, as https://…" });
    return url ?? "";
  });
  if (problems.length > known) return undefined;
  return { name: section.name, file, sha256: section.hash, mirrors };
}

/** Expands a template; undefined where it can't be, which goes to the problems. */
function expanded(
  path: readonly PropertyKey[],
  template: string,
  known: Readonly<Record<string, string>>,
  problems: FieldProblem[],
): string | undefined {
  try {
    return expandPlaceholders(template, known);
  } catch (error) {
    if (!(error instanceof PlaceholderError)) throw error;
    const found = `${error.message} in ${quoted(template)}`;
    problems.push({ path, found, allowed: placeholderRule(known) });
    return undefined;
  }
}

function placeholderRule(known: Readonly<Record<string, string>>): string {
  const names = Object.keys(known).map((name) => `{${name}}`);
  const version = Object.hasOwn(known, "version") ? "" : " ({version} and its forms need a version)";
  return `${names.join(" ")}${version}`;
}

/** The generator knows fewer placeholders than fetch.py; a source that both expand may use only those of both. */
function narrowed(values: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).filter(([name]) => generatorNames.includes(name)));
}

function isPlainFileName(file: string): boolean {
  // StageX copies `fetch/*` into the context, which leaves out what starts with a dot.
  return /^[^./\\][^/\\]{0,254}$/.test(file) && printableLine(file) === file;
}

/** What can be fetched is seen once it is needed: a tree may name mirrors that only others can ask. */
function isUrl(url: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\/\S+$/i.test(url) && printableLine(url) === url && URL.canParse(url);
}

function parseToml(file: string, content: string): unknown {
  try {
    // A number that no build reads may be of any size.
    return parse(content, { integersAsBigInt: "asNeeded" });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const found = (error.message.split("\n")[0] ?? "").replace(/^Invalid TOML document: /, "");
    throw new TreeError([{ file, line: error.line, found, allowed: "TOML 1.0" }]);
  }
}

const knownFields = {
  top: Object.keys(fileSchema.shape),
  package: Object.keys(packageSchema.shape),
  source: Object.keys(sourceSchema.shape),
};

/**
 * Fields that are nearly a known one, and so a slip that would silently change the build. Other unknown fields are let
 * through, as StageX's own reader does: a later release may well add metadata.
 */
function misspelledFields(raw: unknown): Slip[] {
  const sources = Object.entries(tableAt(raw, ["sources"]));
  return [
    ...slipsIn(raw, [], knownFields.top),
    ...slipsIn(raw, ["package"], knownFields.package),
    ...sources.flatMap(([name]) => slipsIn(raw, ["sources", name], knownFields.source)),
  ];
}

/** A source's name becomes the start of a build argument's. */
function sourceNameProblems(raw: unknown): FieldProblem[] {
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

function valueAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  let value = raw;
  for (const key of path) {
    value = typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
  }
  return value;
}

function zodProblem(raw: unknown, { path, message }: z.core.$ZodIssue): FieldProblem {
  return { path, found: quoted(valueAt(raw, path)), allowed: message };
}

function errorOf(file: string, content: string, problems: readonly FieldProblem[]): TreeError {
  return new TreeError(located(file, content, problems));
}

function located(file: string, content: string, problems: readonly FieldProblem[]): TreeProblem[] {
  const lineOf = fieldLines(content);
  return problems.slice(0, maxProblemsPerFile).map(({ path, found, allowed }): TreeProblem => {
    const line = lineOf(path);
    const field = path.map(String).join(".");
    return { file, ...(line === undefined ? {} : { line }), field, found, allowed };
  });
}
