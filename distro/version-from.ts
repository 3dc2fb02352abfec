import { nearestName } from "./nearest-name.ts";
import { type Problem, quoted } from "./tree-error.ts";

/** What a version is resolved from. */
export type Versioned = { readonly version: string | null; readonly versionFrom: string | null };

/**
 * The version of each image, `version_from` followed to its end; null where there is none.
 * StageX's generator follows in two passes over its table, so a longer chain gives it a version or none by the order of
 * the folders on disk; here it is always the end's.
 * @param images by name
 * @param reject told of each image whose `version_from` names no image or leads back to itself
 */
export function resolveVersions(
  images: ReadonlyMap<string, Versioned>,
  reject: (image: string, problem: Pick<Problem, "field" | "found" | "allowed">) => void,
): Map<string, string | null> {
  return new Map([...images.keys()].map((name) => [name, resolve(name)]));

  function resolve(image: string): string | null {
    const path = [image];
    let current = images.get(image);
    for (let from = current?.versionFrom; typeof from === "string"; from = current?.versionFrom) {
      const turn = path.indexOf(from);
      path.push(from);
      if (turn !== -1) {
        // The others of the cycle, and those that lead into it, would only repeat it.
        if (turn === 0 && path.every((name) => image <= name)) rejectCycle(image, path);
        return null;
      }
      current = images.get(from);
      if (current === undefined) {
        if (path.length === 2) rejectUnknown(image, from);
        return null;
      }
    }
    return current?.version ?? null;
  }

  function rejectUnknown(image: string, from: string): void {
    const nearest = nearestName(from, images.keys());
    const allowed =
      nearest === undefined ? "an image of the tree" : `an image of the tree; the nearest is ${nearest}`;
    reject(image, { field: "package.version_from", found: quoted(from), allowed });
  }

  function rejectCycle(image: string, path: readonly string[]): void {
    const found = `the cycle ${path.join(" -> ")}`;
    reject(image, { field: "package.version_from", found, allowed: "a way to a package with a version" });
  }
}
