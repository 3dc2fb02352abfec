import { basename } from "node:path";
import { type Printable, printable } from "./text/printable.ts";
import { quoteShellWord } from "./text/shell-word.ts";
import { printError } from "./text/terminal.ts";

/** Whether `STAGEX_DEBUG=1` asks for debug lines. */
export function isDebugging(): boolean {
  return process.env.STAGEX_DEBUG === "1";
}

let write: (line: Printable) => void = printError;

/** Sends debug lines elsewhere than to stderr: the engine hides a provider's stderr. */
export function sendDebugLinesTo(sink: (line: Printable) => void): void {
  write = sink;
}

/** Writes a line if `STAGEX_DEBUG=1`. */
export function logDebug(topic: string, message: string): void {
  if (isDebugging()) write(printable`debug ${topic}: ${message}`);
}

/**
 * Logs the command line of a program that is about to start. Environment and stdin, which may carry
 * credentials, are not logged.
 */
export function logCommand(program: string, args: readonly string[]): void {
  if (!isDebugging()) return;
  const shown = args.map((word, index) =>
    secretOption.test(args[index - 1] ?? "") ? "…" : redactSecrets(word),
  );
  const words = [program, ...shown].map(quoteShellWord);
  logDebug(basename(program), words.join(" "));
}

/** An option whose value is the next argument. */
const secretOption = /^-+(?:pass(?:word|phrase)|token|secret)$/i;
/** Options, build arguments and headers whose value is a secret, by their names. */
const namedSecret =
  /((?:pass(?:word|phrase)|token|secret|credential|authorization)\w{0,30}[=:] ?(?:bearer |basic )?)[^\s,]+/gi;
/** The user's part of an address. */
const addressUser = /(\/\/)[^/\s]*@/g;

/** Replaces secrets in an argument, and the query of an address, which may be signed. */
function redactSecrets(argument: string): string {
  const scheme = argument.indexOf("://");
  const query = scheme < 0 ? -1 : argument.indexOf("?", scheme);
  const shown = query < 0 ? argument : `${argument.slice(0, query + 1)}…`;
  return shown.replace(addressUser, "$1…@").replace(namedSecret, "$1…");
}
