import { boundedNearestName } from "../../lib/text/nearest-name.ts";
import { formatCycle, quoted, type TreeProblem } from "../tree-error.ts";

/** The fields from which a version is resolved. */
export type Versioned = { readonly version: string | null; readonly versionFrom: string | null };

/**
 * Resolves the version of each image, following `version_from` to its end; null where there is
 * none. StageX's generator follows it in two passes over its table. There the order of the folders
 * on disk decides whether a longer chain has a version. Here it always has the version of its end.
 * @param images by name
 * @param reject called for each image whose `version_from` names no image or leads back to itself
 */
export function resolveVersions(
  images: ReadonlyMap<string, Versioned>,
  reject: (image: string, problem: Pick<TreeProblem, "field" | "found" | "allowed">) => void,
): Map<string, string | null> {
  const versions = new Map<string, string | null>();
  const nearest = boundedNearestName(() => images.keys());
  for (const image of images.keys()) resolve(image);
  return versions;

  /** Follows the chain from an image until a version is known. All images passed get it. */
  function resolve(image: string): void {
    const chain = new Map<string, number>();
    let name = image;
    let version = versions.get(name);
    while (version === undefined) {
      chain.set(name, chain.size);
      const { version: own = null, versionFrom: from = null } = images.get(name) ?? {};
      if (from === null) version = own;
      else if (chain.has(from)) {
        rejectCycle([...chain.keys()].slice(chain.get(from)));
        version = null;
      } else if (!images.has(from)) {
        rejectUnknown(name, from);
        version = null;
      } else {
        name = from;
        version = versions.get(name);
      }
    }
    for (const passed of chain.keys()) versions.set(passed, version);
  }

  function rejectUnknown(image: string, from: string): void {
    const meant = nearest(from);
    const allowed =
      meant === undefined ? "an image of the tree" : `an image of the tree; the nearest is ${meant}`;
    reject(image, { field: "package.version_from", found: quoted(from), allowed });
  }

  /** Reports a cycle once: its other images, and those that lead into it, would only repeat it. */
  function rejectCycle(names: readonly string[]): void {
    const least = names.reduce((one, other) => (other < one ? other : one));
    const start = names.indexOf(least);
    const found = formatCycle([...names.slice(start), ...names.slice(0, start), least]);
    reject(least, { field: "package.version_from", found, allowed: "a way to a package with a version" });
  }
}
