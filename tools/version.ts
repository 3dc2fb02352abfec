/** A released version: major, minor and patch. Suffixes (`-rc.1`, `+ds1`) are not compared. */
export type Version = readonly [major: number, minor: number, patch: number];

/** Finds the first `1.2.3` (or `1.2`) in a text; returns null where there is none. */
export function parseVersion(text: string): Version | null {
  const found = /(?<!\d)(\d+)\.(\d+)(?:\.(\d+))?/.exec(text);
  if (found === null) return null;
  return [Number(found[1]), Number(found[2]), Number(found[3] ?? 0)];
}

/**
 * Compares versions: negative, zero or positive, as a is older than, the same as or newer than b.
 */
export function compareVersions(a: Version, b: Version): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}

/** From the first version on, without the second. */
export type VersionRange = { readonly from: Version; readonly below: Version };

/** Whether the version is in the range; none is in null. */
export function isWithin(version: Version, range: VersionRange | null): boolean {
  if (range === null) return false;
  return compareVersions(version, range.from) >= 0 && compareVersions(version, range.below) < 0;
}

/** Formats a version: `1.2.3`. */
export function formatVersion(version: Version): string {
  return version.join(".");
}
