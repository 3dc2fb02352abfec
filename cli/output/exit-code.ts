import { CommanderError } from "commander";
import { TreeError } from "../../distro/tree-error.ts";
import { GitError } from "../../lib/git/git.ts";
import { withHint } from "../../lib/os-error-hints.ts";
import { type Printable, printableBlock, printableMessage } from "../../lib/text/printable.ts";
import { LayoutError } from "../../oci/layout-error.ts";
import { FetchRecordError } from "../../sources/recording/fetch-record-error.ts";
import { SetUpError } from "../../tools/set-up-error.ts";

/**
 * Exit codes of the `stagex` command. `stagex pulumi` and `test` pass on the code of the program
 * that replaces them. A command that a signal ended has 128 plus the signal's number.
 */
export const exitCode = {
  /** The command did what it was asked to, or the answer is yes. */
  ok: 0,
  /**
   * The command ran, and the answer is no: a digest differs, an image failed, a check falls short.
   */
  no: 1,
  /** The command line, a setting or a tree is wrong; or the question can't be answered. */
  usage: 2,
  /**
   * A tool, or a place to write to, is not available (EX_UNAVAILABLE of sysexits.h); the message
   * has the fix. tools/bootstrap.mjs has it too.
   */
  unavailable: 69,
  /** The output can't be written: stdout is on a full disk, or closed (EX_IOERR of sysexits.h). */
  output: 74,
  /** An internal error (EX_SOFTWARE of sysexits.h); the stack is printed. */
  fault: 70,
} as const;

/** An expected failure of a subcommand, reported by its message alone. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly code: number;

  constructor(message: string, code: number = exitCode.usage) {
    super(message);
    this.code = code;
  }
}

/**
 * Returns an error in settings or a tree as an error of usage; internal errors stay what they are.
 */
export function asUsageError(error: unknown): unknown {
  const isInternal = [TypeError, ReferenceError, RangeError, SyntaxError].some(
    (kind) => error instanceof kind,
  );
  if (!(error instanceof Error) || isInternal || error instanceof TreeError || error instanceof GitError)
    return error;
  return new CommandError(error.message);
}

/**
 * Returns the message for stderr, empty if it has been printed, and the exit code after an error.
 */
export function describeFailure(error: unknown): { readonly message: Printable; readonly code: number } {
  const { message, code } = endOf(error);
  return { message: printableBlock(message), code };
}

function endOf(error: unknown): { readonly message: string; readonly code: number } {
  if (error instanceof CommanderError) {
    // Commander has printed it. Its exit code is 1 for a wrong command line, and 0 after --help.
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
    message: `stagex: internal error, please report it:\n${trace}`,
    code: exitCode.fault,
  };
}
