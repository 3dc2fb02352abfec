import { type Containerfile, type ContextRead, readsOf } from "./containerfile.ts";
import { glob } from "./glob.ts";
import { type Problem, quoted } from "./tree-error.ts";
import type { TreeFile } from "./tree-files.ts";

/** Files that BuildKit reads by itself, if they are there: they say what an instruction cannot see. */
const ignoreFiles = new Set([".dockerignore", "Containerfile.dockerignore"]);

/** The sources are put here for the build, and StageX empties it first, so what git tracks in it is not seen. */
const sourcesFolder = "fetch";

/**
 * The files of a package's folder that some instruction can read of those that a build of the target runs. One that is left
 * out is one that the build cannot see; where an instruction cannot be told before the build, everything that it could
 * mean is in. Ignore files are not applied, as they only take away.
 * @param files paths relative to the package's folder
 * @param target a stage's name; null for the last one
 */
export function contextFiles(
  files: readonly TreeFile[],
  containerfile: Containerfile,
  target: string | null,
): TreeFile[] {
  const reads = readsOf(containerfile, target);
  const seen = files.filter(({ path }) => !path.startsWith(`${sourcesFolder}/`));
  // A link may stand for a file or folder that no instruction names.
  if (reads.length > 0 && seen.some(({ mode }) => mode === "120000")) return seen;
  const patterns = reads.map(patternOf);
  return seen.filter(
    ({ path }) => ignoreFiles.has(path) || patterns.some((pattern) => covers(pattern, path)),
  );
}

/** What an instruction reads outside the package's folder, or names plainly and git does not track. */
export function contextProblems(
  file: string,
  files: readonly TreeFile[],
  { reads }: Containerfile,
): Problem[] {
  const folder = file.slice(0, file.lastIndexOf("/"));
  return reads.flatMap((read): Problem[] => {
    const place = { file, line: read.line, field: read.keyword, found: quoted(read.path) };
    if (leavesFolder(read.path)) return [{ ...place, allowed: `paths within ${folder}` }];
    if (isVague(read)) return [];
    const parts = partsOf(read);
    const found = parts[0] === sourcesFolder || files.some(({ path }) => covers(patternOf(read), path));
    if (parts.length === 0 || found) return [];
    const path = [folder, ...parts].join("/");
    return [{ ...place, allowed: "a file that git tracks", mend: `git add ${path}` }];
  });
}

/** Tests for each component of a path; what fits, and all below it, is meant. */
type Pattern = readonly ((component: string) => boolean)[];

/** Quotes, escapes and variables: what they stand for only the build can tell, be it `../other`. */
const unresolved = /["'\\`$]/;

/** Classes and `**` stand for names, but are not worth it. */
const vague = new RegExp(`${unresolved.source}|\\[|\\*\\*`);

function isVague({ path, wildcards }: ContextRead): boolean {
  return vague.test(path) || (wildcards && /[*?]/.test(path));
}

function patternOf(read: ContextRead): Pattern {
  return partsOf(read).map((part) => (read.wildcards ? wildcard(part) : (component) => component === part));
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

/** As Go's filepath.Match within one component: `*` is any text, `?` any one character. */
function wildcard(part: string): (component: string) => boolean {
  if (!/[*?]/.test(part)) return (component) => component === part;
  const fitting = glob(part);
  return (component) => fitting.test(component);
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
