/** A released version: major, minor and patch. What follows them (`-rc.1`, `+ds1`) is not compared. */
export type Version = readonly [major: number, minor: number, patch: number];

/** The first `1.2.3` (or `1.2`) in the text, or null: programs print their version amid other words. */
export function parseVersion(text: string): Version | null {
  const found = /(?<!\d)(\d+)\.(\d+)(?:\.(\d+))?/.exec(text);
  if (found === null) return null;
  return [Number(found[1]), Number(found[2]), Number(found[3] ?? 0)];
}

/** Negative, zero or positive, as a is older than, the same as or newer than b. */
export function compareVersions(a: Version, b: Version): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}

/** From the first version on, up to but without the second. */
export type VersionRange = { readonly from: Version; readonly below: Version };

/** Whether the version lies in the range; none lies in null. */
export function isWithin(version: Version, range: VersionRange | null): boolean {
  if (range === null) return false;
  return compareVersions(version, range.from) >= 0 && compareVersions(version, range.below) < 0;
}

/** `1.2.3`, as people write it. */
export function formatVersion(version: Version): string {
  return version.join(".");
}
