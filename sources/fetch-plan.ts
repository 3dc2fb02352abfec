import { lstat } from "node:fs/promises";
import { join } from "node:path";
import type { MirrorUrls } from "./download/mirror-url.ts";
import type { SourceCache } from "./source-cache.ts";
import type { WantedSource } from "./wanted-source.ts";

/** A source, and the plan for fetching it. */
export type PlannedFetch = {
  readonly source: WantedSource;
  /**
   * URLs in the order in which they are asked: mirrors, and the places of the vault before or after
   * them. Software Heritage, asked after all of them have failed, is not listed.
   */
  readonly urls: readonly string[];
  /** The URLs that are mirrors. */
  readonly mirrors: readonly string[];
  /** Mirrors that are not asked, each with the reason. */
  readonly refused: MirrorUrls["refused"];
  /**
   * `there`: in the cache or in the tree's `fetch/`. `refused`: not there, and none of the URLs may
   * be asked.
   */
  readonly status: "there" | "missing" | "refused";
};

/**
 * Plans the fetch of each source without any request. A file that is there is hashed only when it
 * is used.
 */
export async function planFetch(
  sources: readonly WantedSource[],
  cache: SourceCache,
): Promise<PlannedFetch[]> {
  return await Promise.all(
    sources.map(async (source) => {
      const { places, refused } = cache.listLocations(source);
      const listed = places.filter(({ kind }) => kind !== "last-resort");
      const urls = listed.map(({ url }) => url);
      const mirrors = listed.filter(({ kind }) => kind === "mirror").map(({ url }) => url);
      const files = [
        cache.pathOf(source.sha256),
        ...source.archives.map((archive) => join(archive, source.file)),
      ];
      const isThere = (await Promise.all(files.map(isFile))).includes(true);
      const status = isThere ? "there" : urls.length > 0 ? "missing" : "refused";
      return { source, urls, mirrors, refused, status };
    }),
  );
}

async function isFile(path: string): Promise<boolean> {
  return await lstat(path).then(
    (facts) => facts.isFile(),
    () => false,
  );
}
