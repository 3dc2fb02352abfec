/** The reason for which the set-up can't provide something. */
export type SetUpReason =
  | "no-go"
  | "old-go"
  | "no-toolchain"
  | "no-c-compiler"
  | "no-network"
  | "disk-full"
  | "no-cache"
  | "out-of-memory"
  | "wrong-checksum"
  | "not-for-this-system"
  | "build-failed";

/**
 * A failed step of the set-up. Its message names the step, the reason and the command that fixes
 * it.
 */
export class SetUpError extends Error {
  override readonly name = "SetUpError";
  readonly reason: SetUpReason;
  /** The missing thing: `buildkitd v0.34.2`. */
  readonly what: string;
  readonly why: string;
  /** A command, or a sentence where there is no single command. */
  readonly fix: string;

  constructor(what: string, reason: SetUpReason, why: string, fix: string) {
    super(`can't set up ${what}: ${why}\n  to fix it: ${fix}`);
    this.reason = reason;
    this.what = what;
    this.why = why;
    this.fix = fix;
  }
}
