/** Why something the work needs can't be had. */
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

/** A step of the set-up can't be done. Its message says which, why, and the one command that mends it. */
export class SetUpError extends Error {
  override readonly name = "SetUpError";
  readonly reason: SetUpReason;
  /** What can't be had: `buildkitd v0.34.2`. */
  readonly what: string;
  readonly why: string;
  /** A command, or a sentence where no single command does it. */
  readonly fix: string;

  constructor(what: string, reason: SetUpReason, why: string, mend: string) {
    super(`can't set up ${what}: ${why}\n  to fix it: ${mend}`);
    this.reason = reason;
    this.what = what;
    this.why = why;
    this.fix = mend;
  }
}
