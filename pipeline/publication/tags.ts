const tagPattern = /^\w[\w.-]{0,127}$/;

/** The tag that always points at the newest: the last to be moved, so that who follows it never gets there first. */
const newest = "latest";

/** Whether a registry can have such a tag (distribution-spec, "Pulling manifests"). */
export function isTag(text: string): boolean {
  return tagPattern.test(text);
}

/** Whether a tag goes from image to image, and is no part of what is signed: `latest`, and the releases' `sx2026.03.0`. */
export function isMovingTag(tag: string): boolean {
  return tag === newest || tag.startsWith("sx");
}

/**
 * What StageX tags an image with: `1.36.1`, `sx2026.03.0`, `latest`.
 * @param release its name, `2026.03.0`; without one there is no such tag
 */
export function tagsOf(version: string, release?: string): string[] {
  return orderTags([version, ...(release === undefined ? [] : [`sx${release}`]), newest]);
}

/** Each tag once, in the order in which they are set. */
export function orderTags(tags: readonly string[]): string[] {
  const others = [...new Set(tags)].filter((tag) => tag !== newest);
  return tags.includes(newest) ? [...others, newest] : others;
}
