/** One thing that the doctor checked. */
export type Check = {
  readonly name: string;
  /** A description of what is there; `none` if there is nothing. */
  readonly found: string;
  /** A description of the minimum; null if there is none. */
  readonly minimum: string | null;
  /**
   * - `ok`: it meets the minimum;
   * - `falls short`: the main job (`npm start`) can't run;
   * - `lacks`: the main job runs, but something else does not, or runs less well.
   */
  readonly verdict: "ok" | "falls short" | "lacks";
  /** The command that fixes it, or a hint; null if nothing is wrong. */
  readonly mend: string | null;
};

/** Checks that belong together. */
export type Section = { readonly title: string; readonly checks: readonly Check[] };

/** Returns a check that passed. */
export function ok(name: string, found: string, minimum: string | null = null): Check {
  return { name, found, minimum, verdict: "ok", mend: null };
}
