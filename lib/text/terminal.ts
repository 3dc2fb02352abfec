import { constants } from "node:os";
import { type Printable, printable } from "./printable.ts";

/**
 * The only way to stdout and stderr. It takes {@link Printable} text, so that no foreign text gets
 * there unescaped. A test forbids `process.stdout`, `process.stderr` and `console` elsewhere.
 */

/** A stream that lines are written to, such as `process.stderr`. */
export type Screen = {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
};

/** The stream for messages beside the result. */
export const errorScreen: Screen = process.stderr;

/** Prints a result on stdout, with a line end. */
export function print(text: Printable): void {
  process.stdout.write(`${text}\n`);
}

/**
 * Prints text for a program on stdout byte for byte, such as a shell's commands. It must have no
 * foreign text.
 */
export function printRaw(text: string): void {
  process.stdout.write(text);
}

/** Prints a message beside the result, with a line end, on stderr by default. */
export function printError(text: Printable, screen: Screen = errorScreen): void {
  screen.write(`${text}\n`);
}

/** Replaces the terminal's current line, cut to its width; the cursor stays in it. */
export function redrawLine(line: Printable, screen: Screen = errorScreen): void {
  const width = (screen.columns ?? 80) - 1;
  screen.write(`\r\x1b[2K${line.length > width ? `${line.slice(0, width - 1)}…` : line}`);
}

/**
 * Ends the process with one line on stderr when stdout fails (a full disk, a closed terminal).
 * If its reader has ended (`… | head`), the exit code is that of SIGPIPE. When stderr fails,
 * only the messages are lost.
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
