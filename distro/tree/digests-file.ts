import { maxProblemsPerFile, quoted, TreeError, type TreeProblem } from "../tree-error.ts";

/** A line `<64 hex digits> <stage>-<name>`, as StageX's `src/digests.py` writes it. */
const linePattern = /^([0-9a-f]{64}) ([a-z0-9]+-\S+)$/;

/**
 * The path of a digests file: `digests/<stage>.txt`, of each image's first platform, or our own
 * `digests/linux-arm64/<stage>.txt`, of another platform.
 */
const pathPattern = /^digests\/(?:([a-z0-9]+(?:-[a-z0-9.]+)+|index)\/)?[^/]+\.txt$/;

/** The platform of StageX's own lines, for packages that name none (PLATFORM of its Makefile). */
export const publishedPlatform = "linux/amd64";

/**
 * The set that a file below `digests/` belongs to. `""` is StageX's own, with the first platform's
 * manifest of each image. {@link digestSetOfPlatform} names the set of another platform. `index`
 * has the indexes of images for several platforms, from which their dependents are built.
 */
export type DigestSet = string;

/** Returns the set of a platform that is not an image's first: `linux-arm64` for linux/arm64. */
export function digestSetOfPlatform(platform: string): DigestSet {
  return platform.replaceAll("/", "-");
}

/** Returns the set of a digests file; undefined for any other file. */
export function digestSetOfPath(path: string): DigestSet | undefined {
  const found = pathPattern.exec(path);
  return found === null ? undefined : (found[1] ?? "");
}

/**
 * Parses a `digests/<stage>.txt`: image name -> hex of the manifest's digest.
 * @param file the path, whose name gives the stage
 * @throws TreeError with every malformed line
 */
export function parseDigestsFile(file: string, text: string): Map<string, string> {
  const stage = file.slice(file.lastIndexOf("/") + 1).replace(/\.txt$/, "");
  const digests = new Map<string, string>();
  const problems: TreeProblem[] = [];
  for (const [index, line] of text.replace(/\n$/, "").split("\n").entries()) {
    if (text === "" || problems.length === maxProblemsPerFile) break;
    const [, hex, name] = linePattern.exec(line) ?? [];
    const place = { file, line: index + 1, found: quoted(line) };
    if (hex === undefined || name === undefined || !name.startsWith(`${stage}-`)) {
      problems.push({ ...place, allowed: `64 lower-case hex digits, a space, and ${stage}-<name>` });
    } else if (digests.has(name)) problems.push({ ...place, allowed: "each image once" });
    else digests.set(name, hex);
  }
  if (problems.length > 0) throw new TreeError(problems);
  return digests;
}

/** Formats a `digests/<stage>.txt`, sorted by name. */
export function formatDigestsFile(digests: ReadonlyMap<string, string>): string {
  return [...digests]
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([name, hex]) => `${hex} ${name}\n`)
    .join("");
}

/**
 * Formats all digests files of a set: path -> text, in the order of the paths, such as
 * `digests/core.txt`. The stage is the part of a name before the first dash.
 */
export function formatDigestsFiles(
  digests: ReadonlyMap<string, string>,
  set: DigestSet = "",
): Map<string, string> {
  const folder = set === "" ? "digests" : `digests/${set}`;
  const stages = Map.groupBy(digests, ([name]) => name.slice(0, name.indexOf("-")));
  return new Map(
    [...stages]
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([stage, entries]) => [`${folder}/${stage}.txt`, formatDigestsFile(new Map(entries))]),
  );
}

/** Returns the digests, by set, of an image whose first platform is not StageX's own. */
export function digestsOfOtherPlatforms(
  platforms: readonly string[],
  digests: Readonly<Record<string, string>>,
): Map<DigestSet, string> {
  return new Map(
    platforms.flatMap((platform): [DigestSet, string][] => {
      const hex = digests[platform];
      return hex === undefined ? [] : [[digestSetOfPlatform(platform), hex]];
    }),
  );
}

/**
 * Returns the digests, as hex digits by set, that {@link formatDigestsFiles} writes beside StageX's
 * own. An image for one platform has none.
 */
export function furtherDigestsOf(
  platforms: readonly string[],
  digests: Readonly<Record<string, string>>,
  index: string,
): Map<DigestSet, string> {
  const [, ...others] = platforms;
  if (others.length === 0) return new Map();
  return new Map([...digestsOfOtherPlatforms(others, digests), ["index", index]]);
}
