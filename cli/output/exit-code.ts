import { CommanderError } from "commander";
import { TreeError } from "../../distro/tree-error.ts";
import { GitError } from "../../lib/git/git.ts";
import { withHint } from "../../lib/os-error-hints.ts";
import { type Printable, printableBlock, printableMessage } from "../../lib/text/printable.ts";
import { LayoutError } from "../../oci/layout-error.ts";
import { FetchRecordError } from "../../sources/recording/fetch-record-error.ts";
import { SetUpError } from "../../tools/set-up-error.ts";

/**
 * What the `stagex` command's exit code says. `stagex pulumi`, `start` and `test` pass on the code of the program they become; a
 * command that a signal ended has 128 and the signal's number.
 */
export const exitCode = {
  /** All is well. */
  ok: 0,
  /** It ran, and the answer is no: a digest differs, an image failed, a check falls short. */
  no: 1,
  /** It was asked wrongly: the command line, a setting, a tree that can't be read. */
  usage: 2,
  /** A tool, or a place to write to, can't be had (EX_UNAVAILABLE of sysexits.h); the message names the mend. tools/bootstrap.mjs has it too. */
  unavailable: 69,
  /** What it had to say can't be written: stdout is on a full disk, or gone (EX_IOERR of sysexits.h). */
  output: 74,
  /** A fault of ours (EX_SOFTWARE of sysexits.h); the stack is printed. */
  fault: 70,
} as const;

/** A subcommand's own expected end: the message is all that the user needs to see. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly code: number;

  constructor(message: string, code: number = exitCode.usage) {
    super(message);
    this.code = code;
  }
}

/** An error from reading settings or a tree, as a command that was asked wrongly; a defect of ours stays one. */
export function asUsageError(error: unknown): unknown {
  const isDefect = [TypeError, ReferenceError, RangeError, SyntaxError].some((kind) => error instanceof kind);
  if (!(error instanceof Error) || isDefect || error instanceof TreeError || error instanceof GitError)
    return error;
  return new CommandError(error.message);
}

/** How the command ends after this error: what to print on stderr (nothing, where it has been said) and the exit code. */
export function describeFailure(error: unknown): { readonly message: Printable; readonly code: number } {
  const { message, code } = endOf(error);
  return { message: printableBlock(message), code };
}

function endOf(error: unknown): { readonly message: string; readonly code: number } {
  if (error instanceof CommanderError) {
    // Commander has printed it; it ends with 1 for what was asked wrongly, and with 0 after --help.
    return { message: "", code: error.exitCode === 0 ? exitCode.ok : exitCode.usage };
  }
  if (error instanceof CommandError) return { message: `stagex: ${error.message}`, code: error.code };
  if (error instanceof SetUpError) return { message: `stagex: ${error.message}`, code: exitCode.unavailable };
  if (error instanceof TreeError) return { message: `stagex: ${error.message}`, code: exitCode.usage };
  if (error instanceof GitError) {
    const code = error.problem === "not-installed" ? exitCode.unavailable : exitCode.usage;
    return { message: `stagex: ${error.message}`, code };
  }
  if (error instanceof LayoutError || error instanceof FetchRecordError)
    return { message: `stagex: ${error.message}`, code: exitCode.no };
  if (error instanceof Error && withHint(error) !== error.message)
    return { message: `stagex: ${withHint(error)}`, code: exitCode.unavailable };
  const trace = printableMessage(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return {
    message: `stagex: this is a fault in stagex itself, please report it:\n${trace}`,
    code: exitCode.fault,
  };
}
