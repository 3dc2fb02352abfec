import { compileGlob } from "../../lib/text/glob.ts";
import { quoteShellWord } from "../../lib/text/shell-word.ts";
import { quoted, type TreeProblem } from "../tree-error.ts";
import type { TreeFile } from "../tree-source.ts";
import { type Containerfile, type ContextRead, contextReadsOf } from "./containerfile.ts";

/** Files that BuildKit reads by itself, if they are there: they say what an instruction cannot see. */
const ignoreFiles = new Set([".dockerignore", "Containerfile.dockerignore"]);

/** The sources are put here for the build, and StageX empties it first, so what git tracks in it is not seen. */
const sourcesFolder = "fetch";

/**
 * Finds the files of a package's folder that some instruction can read of those that a build of a target runs. One that is left
 * out is one that the build cannot see; where an instruction cannot be told before the build, everything that it could
 * mean is in. Ignore files are not applied, as they only take away.
 * @param files paths relative to the package's folder
 * @returns the files for a target: a stage's name, or null for the last one
 */
export function selectContextFiles(
  files: readonly TreeFile[],
  containerfile: Containerfile,
): (target: string | null) => TreeFile[] {
  const seen = files.filter(({ path }) => !path.startsWith(`${sourcesFolder}/`));
  const hasLink = seen.some(({ mode }) => mode === "120000");
  const places = new Map(containerfile.reads.map((read) => [read, placeOf(read)]));
  // All targets of a package ask of the same patterns and files.
  const fitting = new Map<string, ReadonlySet<TreeFile>>();
  const filesLike = (place: Place) => {
    const known = fitting.get(place.key) ?? new Set(seen.filter(({ path }) => covers(place.pattern, path)));
    fitting.set(place.key, known);
    return known;
  };
  return (target) => {
    const reads = contextReadsOf(containerfile, target);
    // A link may stand for a file or folder that no instruction names.
    if (reads.length > 0 && hasLink) return seen;
    const read = new Map(reads.flatMap((each) => places.get(each) ?? []).map((place) => [place.key, place]));
    const matched = [...read.values()].filter(({ isPlain }) => !isPlain).map(filesLike);
    return seen.filter(
      (file) =>
        ignoreFiles.has(file.path) ||
        waysTo(file.path).some((way) => read.get(way)?.isPlain) ||
        matched.some((like) => like.has(file)),
    );
  };
}

/** What an instruction reads outside the package's folder, or names plainly and git does not track. */
export function checkContextReads(
  file: string,
  files: readonly TreeFile[],
  { reads }: Containerfile,
): TreeProblem[] {
  const folder = file.slice(0, file.lastIndexOf("/"));
  const tracked = new Set(files.flatMap(({ path }) => waysTo(path)));
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

/** A path, and each folder above it up to the package's own, whose name is empty. */
function waysTo(path: string): string[] {
  const ways = ["", path];
  for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1))
    ways.push(path.slice(0, end));
  return ways;
}

/** What an instruction reads, as far as it can be told: equal places have equal keys. */
type Place = {
  /** Of a plain place its path; others begin with a slash. */
  readonly key: string;
  readonly isPlain: boolean;
  readonly pattern: Pattern;
};

function placeOf(read: ContextRead): Place {
  const parts = partsOf(read);
  const isPlain = !read.wildcards || !parts.some((part) => wild.test(part));
  return { key: `${isPlain ? "" : "/"}${parts.join("/")}`, isPlain, pattern: patternOf(read, parts) };
}

/** Tests for each component of a path; what fits, and all below it, is meant. */
type Pattern = readonly ((component: string) => boolean)[];

/** Quotes, escapes and variables: what they stand for only the build can tell, be it `../other`. */
const unresolved = /["'\\`$]/;

/** Classes and `**` stand for names, but are not worth it. */
const vague = new RegExp(`${unresolved.source}|\\[|\\*\\*`);

/** As in Go's filepath.Match, within one component. */
const wild = /[*?]/;

function isVague({ path, wildcards }: ContextRead): boolean {
  return vague.test(path) || (wildcards && wild.test(path));
}

function patternOf({ wildcards }: ContextRead, parts: readonly string[]): Pattern {
  return parts.map((part) =>
    wildcards && wild.test(part) ? compileGlob(part) : (component) => component === part,
  );
}

/** The path's components as far as they can be told; what follows could be anything, so all below is meant. */
function partsOf({ path }: ContextRead): string[] {
  const parts: string[] = [];
  const written = path.split("/");
  for (const [index, part] of written.entries()) {
    if (vague.test(part)) {
      // Where it may climb, nothing can be told; of sources, which are named by their version, it is taken that it does not.
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
