const tagPattern = /^\w[\w.-]{0,127}$/;

/** The tag of the newest image. It is set last, when the other tags are there. */
const newest = "latest";

/** Tells whether a registry accepts a tag (distribution-spec, "Pulling manifests"). */
export function isTag(text: string): boolean {
  return tagPattern.test(text);
}

/**
 * Tells whether a tag moves from image to image and so is not signed: `latest`, and `sx2026.03.0`
 * of a release.
 */
export function isMovingTag(tag: string): boolean {
  return tag === newest || tag.startsWith("sx");
}

/**
 * Returns the tags that StageX gives an image: `1.36.1`, `sx2026.03.0`, `latest`.
 * @param release name of the release, `2026.03.0`; without it there is no `sx` tag
 */
export function tagsOf(version: string, release?: string): string[] {
  return orderTags([version, ...(release === undefined ? [] : [`sx${release}`]), newest]);
}

/** Returns each tag once, in the order in which they are set. */
export function orderTags(tags: readonly string[]): string[] {
  const others = [...new Set(tags)].filter((tag) => tag !== newest);
  return tags.includes(newest) ? [...others, newest] : others;
}
