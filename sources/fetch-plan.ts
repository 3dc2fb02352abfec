import { lstat } from "node:fs/promises";
import { join } from "node:path";
import { mirrorUrls } from "./mirror-url.ts";
import type { SourceCache } from "./source-cache.ts";
import type { WantedSource } from "./wanted-source.ts";

/** A source, and what fetching it means. */
export type PlannedFetch = {
  readonly source: WantedSource;
  /** URLs in the order in which they are asked. */
  readonly urls: readonly string[];
  /** Mirrors that are not asked, each with the reason. */
  readonly refused: readonly { readonly mirror: string; readonly reason: string }[];
  /** `there`: in the cache or in the tree's `fetch/`. `refused`: not there, and no mirror of it may be asked. */
  readonly status: "there" | "missing" | "refused";
};

/** Plans the fetch of each source without asking anybody. A file that is there is hashed only once it is used. */
export async function planFetch(
  sources: readonly WantedSource[],
  cache: SourceCache,
): Promise<PlannedFetch[]> {
  return await Promise.all(
    sources.map(async (source) => {
      const { urls, refused } = mirrorUrls(source.mirrors, cache.httpsOnly);
      const places = [
        join(cache.root, "sha256", source.sha256),
        ...source.archives.map((archive) => join(archive, source.file)),
      ];
      const isThere = (await Promise.all(places.map(isFile))).includes(true);
      return { source, urls, refused, status: isThere ? "there" : urls.length > 0 ? "missing" : "refused" };
    }),
  );
}

async function isFile(path: string): Promise<boolean> {
  return await lstat(path).then(
    (facts) => facts.isFile(),
    () => false,
  );
}
