import { join } from "node:path";
import type { BuildPlan, Source } from "../distro/build-plan.ts";

/** A source that images of a tree need, with every place that may have it. */
export type WantedSource = Source & {
  /** The images that need it, in the order of the tree. */
  readonly images: readonly string[];
  /** Folders of the tree that may hold the file: `fetch/<stage>/<package>`. */
  readonly archives: readonly string[];
};

/**
 * Lists the sources of these images, each file with the same content once. Packages that name it
 * with other mirrors add theirs.
 * @param root the tree's folder
 */
export function listWantedSources(plans: Iterable<BuildPlan>, root: string): WantedSource[] {
  const wanted = new Map<
    string,
    { source: Source; images: Set<string>; mirrors: Set<string>; archives: Set<string> }
  >();
  for (const plan of plans) {
    for (const source of plan.sources) {
      const key = `${source.sha256} ${source.file}`;
      const entry = wanted.get(key) ?? { source, images: new Set(), mirrors: new Set(), archives: new Set() };
      wanted.set(key, entry);
      entry.images.add(plan.name);
      entry.archives.add(join(root, "fetch", plan.stage, plan.origin));
      for (const mirror of source.mirrors) entry.mirrors.add(mirror);
    }
  }
  return [...wanted.values()].map(({ source, images, mirrors, archives }) => ({
    ...source,
    images: [...images],
    mirrors: [...mirrors],
    archives: [...archives],
  }));
}
