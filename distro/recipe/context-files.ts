import { compileGlob } from "../../lib/text/glob.ts";
import { quoteShellWord } from "../../lib/text/shell-word.ts";
import { quoted, type TreeProblem } from "../tree-error.ts";
import type { TreeFile } from "../tree-source.ts";
import { type Containerfile, type ContextRead, contextReadsOf } from "./containerfile.ts";

/** Files that BuildKit itself reads where they exist; instructions do not name them. */
const ignoreFiles = new Set([".dockerignore", "Containerfile.dockerignore"]);

/** The folder of the sources. StageX empties it first, so builds see no tracked file there. */
const sourcesFolder = "fetch";

/**
 * Selects the files of a package's folder that some instruction of a target's build can read. The
 * build cannot see the others. Where an instruction cannot be resolved before the build, every file
 * that it could mean is selected. Ignore files are not applied, as they only remove files.
 * @param files paths relative to the package's folder
 * @returns a function from a target (a stage's name, or null for the last one) to its files
 */
export function selectContextFiles(
  files: readonly TreeFile[],
  containerfile: Containerfile,
): (target: string | null) => TreeFile[] {
  const seen = files.filter(({ path }) => !path.startsWith(`${sourcesFolder}/`));
  const hasLink = seen.some(({ mode }) => mode === "120000");
  const places = new Map(containerfile.reads.map((read) => [read, placeOf(read)]));
  // All targets of a package share most patterns and files.
  const fitting = new Map<string, ReadonlySet<TreeFile>>();
  const filesLike = (place: Place) => {
    const known = fitting.get(place.key) ?? new Set(seen.filter(({ path }) => covers(place.pattern, path)));
    fitting.set(place.key, known);
    return known;
  };
  return (target) => {
    const reads = contextReadsOf(containerfile, target);
    // A link may stand for a file or folder without a name in any instruction.
    if (reads.length > 0 && hasLink) return seen;
    const read = new Map(reads.flatMap((each) => places.get(each) ?? []).map((place) => [place.key, place]));
    const matched = [...read.values()].filter(({ isPlain }) => !isPlain).map(filesLike);
    return seen.filter(
      (file) =>
        ignoreFiles.has(file.path) ||
        pathsUpFrom(file.path).some((path) => read.get(path)?.isPlain) ||
        matched.some((like) => like.has(file)),
    );
  };
}

/** Returns the reads outside the package's folder, and plain paths that git does not track. */
export function checkContextReads(
  file: string,
  files: readonly TreeFile[],
  { reads }: Containerfile,
): TreeProblem[] {
  const folder = file.slice(0, file.lastIndexOf("/"));
  const tracked = new Set(files.flatMap(({ path }) => pathsUpFrom(path)));
  return reads.flatMap((read): TreeProblem[] => {
    const place = { file, line: read.line, field: read.keyword, found: quoted(read.path) };
    if (leavesFolder(read.path)) return [{ ...place, allowed: `paths within ${folder}` }];
    if (isVague(read)) return [];
    const parts = partsOf(read);
    if (parts.length === 0 || parts[0] === sourcesFolder || tracked.has(parts.join("/"))) return [];
    const path = [folder, ...parts].join("/");
    return [{ ...place, allowed: "a file that git tracks", fix: `git add ${quoteShellWord(path)}` }];
  });
}

/** Returns a path and each folder above it, up to the package's own, whose name is empty. */
function pathsUpFrom(path: string): string[] {
  const paths = ["", path];
  for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1))
    paths.push(path.slice(0, end));
  return paths;
}

/** The path that an instruction reads, as far as it can be resolved. Equal places, equal keys. */
type Place = {
  /** The path of a plain place; the keys of others begin with a slash. */
  readonly key: string;
  readonly isPlain: boolean;
  readonly pattern: Pattern;
};

function placeOf(read: ContextRead): Place {
  const parts = partsOf(read);
  const isPlain = !read.wildcards || !parts.some((part) => wild.test(part));
  return { key: `${isPlain ? "" : "/"}${parts.join("/")}`, isPlain, pattern: patternOf(read, parts) };
}

/** A test for each component of a path. Matches the fitting paths and everything below them. */
type Pattern = readonly ((component: string) => boolean)[];

/** Quotes, escapes and variables: only the build can resolve them, even to `../other`. */
const unresolved = /["'\\`$]/;

/** The {@link unresolved} parts, and classes and `**`, whose support is not worthwhile. */
const vague = new RegExp(`${unresolved.source}|\\[|\\*\\*`);

/** The wildcards of Go's filepath.Match, within one component. */
const wild = /[*?]/;

function isVague({ path, wildcards }: ContextRead): boolean {
  return vague.test(path) || (wildcards && wild.test(path));
}

function patternOf({ wildcards }: ContextRead, parts: readonly string[]): Pattern {
  return parts.map((part) =>
    wildcards && wild.test(part) ? compileGlob(part) : (component) => component === part,
  );
}

/** Returns the components before the first unresolved one. Everything below them is meant. */
function partsOf({ path }: ContextRead): string[] {
  const parts: string[] = [];
  const written = path.split("/");
  for (const [index, part] of written.entries()) {
    if (vague.test(part)) {
      // A path that may climb can lead anywhere. Sources' paths, which hold their version, are
      // assumed not to climb.
      const climbs = written.includes("..", index) || unresolved.test(part);
      return climbs && parts[0] !== sourcesFolder ? [] : parts;
    }
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts;
}

function covers(pattern: Pattern, path: string): boolean {
  const components = path.split("/");
  return pattern.length <= components.length && pattern.every((fits, index) => fits(components[index] ?? ""));
}

function leavesFolder(path: string): boolean {
  let depth = 0;
  for (const part of path.split("/")) {
    if (part === "..") depth--;
    else if (part !== "" && part !== ".") depth++;
    if (depth < 0) return true;
  }
  return false;
}
