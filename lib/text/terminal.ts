import { constants } from "node:os";
import { type Printable, printable } from "./printable.ts";

/**
 * The one way to stdout and stderr: it takes {@link Printable} text only, so that what others wrote can't get there as they wrote it.
 * A test forbids `process.stdout`, `process.stderr` and `console` elsewhere.
 */

/** What lines are written to; `process.stderr` is one. */
export type Screen = {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
};

/** Where what is said beside the answer goes. */
export const errorScreen: Screen = process.stderr;

/** Prints an answer on stdout, with a line end. */
export function print(text: Printable): void {
  process.stdout.write(`${text}\n`);
}

/**
 * Prints on stdout what a program must get byte for byte, such as a shell's commands. Nothing that others wrote may be in it.
 */
export function printRaw(text: string): void {
  process.stdout.write(text);
}

/** Prints what is said beside the answer, with a line end: on stderr, if no other screen is named. */
export function printError(text: Printable, screen: Screen = errorScreen): void {
  screen.write(`${text}\n`);
}

/** Puts a line in the place of the one that the terminal's cursor is in, cut to its width; the cursor stays in it. */
export function redrawLine(line: Printable, screen: Screen = errorScreen): void {
  const width = (screen.columns ?? 80) - 1;
  screen.write(`\r\x1b[2K${line.length > width ? `${line.slice(0, width - 1)}…` : line}`);
}

/**
 * Ends the process with one line on stderr where stdout takes no more (a full disk, a terminal that is gone). Where its reader has seen
 * enough (`… | head`), it ends as SIGPIPE would end it. Without stderr, what is said beside the answer is lost, and the answer is not.
 * @param code the exit code
 */
export function exitOnStdoutError(code: number): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(128 + constants.signals.SIGPIPE);
    printError(printable`stagex: can't write to stdout: ${error.message}`);
    process.exit(code);
  });
  process.stderr.on("error", () => {});
}
