/** The URLs of a source's mirrors, sorted into those to ask and those to leave out. */
export type MirrorUrls = {
  /** In the order in which they are asked, each once. */
  readonly urls: readonly string[];
  /** Mirrors that are not asked at all. The reason needs no context. */
  readonly refused: readonly { readonly mirror: string; readonly reason: string }[];
};

/**
 * Orders the URLs of a source's mirrors as StageX gives them. An `http` mirror is asked over
 * `https` first: many answer there too, and the hash guards the bytes either way.
 * @param httpsOnly leaves out the `http` URLs
 */
export function orderMirrorUrls(mirrors: readonly string[], httpsOnly: boolean): MirrorUrls {
  const urls = new Set<string>();
  const refused: { mirror: string; reason: string }[] = [];
  for (const mirror of mirrors) {
    const reason = refusalOf(mirror);
    if (reason !== undefined) {
      refused.push({ mirror, reason });
      continue;
    }
    if (/^http:/i.test(mirror)) {
      urls.add(mirror.replace(/^http:/i, "https:"));
      if (httpsOnly) continue;
    }
    urls.add(mirror);
  }
  return { urls: [...urls], refused };
}

/**
 * Returns why a mirror is not asked, or undefined. A new mirror scheme begins here;
 * source-locations.ts then chooses how it is read.
 */
function refusalOf(mirror: string): string | undefined {
  const url = URL.parse(mirror);
  if (url === null) return "it is not a URL";
  if (url.protocol !== "https:" && url.protocol !== "http:")
    return `nothing is fetched from ${url.protocol.slice(0, -1)} URLs, only from https and http`;
  if (url.username !== "" || url.password !== "") return "a mirror's URL holds no user name and no password";
  return undefined;
}
