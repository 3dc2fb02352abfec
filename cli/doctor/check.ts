/** One thing that the doctor looked at. */
export type Check = {
  readonly name: string;
  /** What is there, in words; `none` where nothing is. */
  readonly found: string;
  /** The least that serves, in words; null where nothing is asked. */
  readonly minimum: string | null;
  /**
   * - `ok`: it serves;
   * - `falls short`: the main job (`npm start`) can't run;
   * - `lacks`: the main job runs, something else doesn't, or runs less well.
   */
  readonly verdict: "ok" | "falls short" | "lacks";
  /** The command, or the words, that mend it; null where nothing is to be mended. */
  readonly mend: string | null;
};

/** Checks that belong together. */
export type Section = { readonly title: string; readonly checks: readonly Check[] };

/** A check that serves. */
export function ok(name: string, found: string, minimum: string | null = null): Check {
  return { name, found, minimum, verdict: "ok", mend: null };
}
