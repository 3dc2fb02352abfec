import { parse, TomlError } from "smol-toml";
import type { z } from "zod";
import { maxProblemsPerFile, quoted, TreeError, type TreeProblem } from "../tree-error.ts";
import { resolveSources } from "./package-sources.ts";
import type { PackageToml, WrittenPackage } from "./package-toml.ts";
import {
  type FieldProblem,
  fileSchema,
  misspelledFields,
  type packageSchema,
  sourceNameProblems,
  valueAt,
} from "./package-toml-schema.ts";
import { fieldLines } from "./toml-line.ts";

/**
 * Parses the text of a package.toml.
 * @param file the path that errors name
 * @param warnings receives the mistakes in fields that builds do not read
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
  const fetched = resolveSources(written, problems);
  if (problems.length > 0) throw errorOf(file, content, problems);
  const unread = [...metadataProblems(parsed.data.package), ...misspelledMetadata];
  if (unread.length > 0) warnings.push(...located(file, content, unread));
  return { ...written, resolvedSources: fetched };
}

/** Fields of `[package]` that builds do not read. */
const metadataFields = ["description", "license", "licenses", "website"] as const;

function isMetadata(field: string): boolean {
  return metadataFields.some((name) => name === field);
}

/**
 * Returns the mistakes in the metadata. package.toml(5) requires a license as well, but most
 * packages of all releases have none, and some have `licenses`. So only a missing description is a
 * mistake.
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

function versionProblems(toml: WrittenPackage): FieldProblem[] {
  if (toml.version === null || toml.versionFrom === null) return [];
  const found = `${quoted(toml.versionFrom)} beside version = ${quoted(toml.version)}`;
  return [{ path: ["package", "version_from"], found, allowed: "either a version or a version_from" }];
}

function parseToml(file: string, content: string): unknown {
  try {
    // Builds read no numbers, so a number may have any size.
    return parse(content, { integersAsBigInt: "asNeeded" });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const found = (error.message.split("\n")[0] ?? "").replace(/^Invalid TOML document: /, "");
    throw new TreeError([{ file, line: error.line, found, allowed: "TOML 1.0" }]);
  }
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
