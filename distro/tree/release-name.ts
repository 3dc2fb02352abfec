/**
 * The name of a release, `YYYY.MM.N`: the N-th, from 0, of a month. Releases use it as git tag, and
 * as `:sx<release>` on images.
 */
export type ReleaseName = { readonly year: number; readonly month: number; readonly number: number };

const pattern = /^(\d{4})\.(0[1-9]|1[0-2])\.(0|[1-9]\d*)$/;

/** Checks that the text has the form of a release's name. */
export function isReleaseName(text: string): boolean {
  return pattern.test(text);
}

/**
 * Parses a release's name.
 * @throws Error that quotes the text
 */
export function parseReleaseName(text: string): ReleaseName {
  const [, year, month, number] = pattern.exec(text) ?? [];
  if (year === undefined) {
    throw new Error(
      `not a release: ${JSON.stringify(text.slice(0, 100))} (expected YYYY.MM.N, as 2026.03.0)`,
    );
  }
  return { year: Number(year), month: Number(month), number: Number(number) };
}

export function formatReleaseName({ year, month, number }: ReleaseName): string {
  return `${String(year).padStart(4, "0")}.${String(month).padStart(2, "0")}.${number}`;
}

/** Orders releases by time: below 0 where `left` is the earlier. */
export function compareReleases(left: ReleaseName, right: ReleaseName): number {
  return left.year - right.year || left.month - right.month || left.number - right.number;
}
