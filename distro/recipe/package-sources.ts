import { printableLine } from "../../lib/text/printable.ts";
import type { Source } from "../build-plan.ts";
import { quoted } from "../tree-error.ts";
import type { PackageToml, SourceSection, WrittenPackage } from "./package-toml.ts";
import type { FieldProblem } from "./package-toml-schema.ts";
import { expandPlaceholders, PlaceholderError, type VersionForms, versionForms } from "./placeholder.ts";

/**
 * Returns the build arguments that StageX's `src/targets.py` passes besides its three constant
 * ones.
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
 * Returns the values that the generator expands in a `*_SOURCE` argument: fewer than fetch.py
 * expands. The version is the *source's*, but the dashes and underscores are the *package's*. So
 * the argument can differ from the fetched file's name; it is passed as it is.
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
 * Returns the values that fetch.py expands: the source's version, else the package's own. It would
 * write "None" into the file name of a package with `version_from`; here such a placeholder is
 * unknown.
 */
function fetchValues(toml: WrittenPackage, section: SourceSection): Record<string, string> {
  const version = section.version ?? toml.version;
  return { ...(version === null ? {} : versionForms(version)), format: section.format };
}

/** Returns `file`, or the end of the mirror's path by Python's urlsplit (no query, no fragment). */
function fileTemplate(section: SourceSection, mirror: number): string {
  if (section.file !== null) return section.file;
  const path = /^(?:[^:/?#]+:)?(?:\/\/[^/?#]*)?([^?#]*)/.exec(section.mirrors[mirror] ?? "")?.[1] ?? "";
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Expands the sources. Adds each mistake to `problems`. */
export function resolveSources(toml: WrittenPackage, problems: FieldProblem[]): Source[] {
  const files = new Map<string, string>();
  const prefixes = new Map<string, string>();
  return toml.sources.flatMap((section) => {
    const path = ["sources", section.name];
    const prefix = section.name.toUpperCase();
    const sameInOtherCase = prefixes.get(prefix);
    prefixes.set(prefix, section.name);
    if (sameInOtherCase !== undefined) {
      const allowed = "names that differ in more than case: both would be the same build argument";
      problems.push({ path, found: `${section.name} beside ${sameInOtherCase}`, allowed });
    }
    const source = resolveSource(toml, section, problems);
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

/** Expands one source; undefined where it has a mistake, which is added to `problems`. */
function resolveSource(
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

/** Expands a template; undefined where that is impossible, which is added to `problems`. */
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

/**
 * Returns the values whose placeholders the generator knows too: it knows fewer than fetch.py. A
 * source that both expand may use only these.
 */
function narrowed(values: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).filter(([name]) => generatorNames.includes(name)));
}

function isPlainFileName(file: string): boolean {
  // StageX copies `fetch/*` into the context, which leaves out file names with a leading dot.
  return /^[^./\\][^/\\]{0,254}$/.test(file) && printableLine(file) === file;
}

/** Checks the form alone: a tree may name mirrors that only others can reach. */
function isUrl(url: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\/\S+$/i.test(url) && printableLine(url) === url && URL.canParse(url);
}
