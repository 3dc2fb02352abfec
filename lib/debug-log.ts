import { basename } from "node:path";
import { printable } from "./text/printable.ts";
import { quoteShellWord } from "./text/shell-word.ts";
import { printError } from "./text/terminal.ts";

/** Whether `STAGEX_DEBUG=1` asks for debug lines. */
export function isDebugging(): boolean {
  return process.env.STAGEX_DEBUG === "1";
}

/** Writes a line to stderr if `STAGEX_DEBUG=1`; the engine shows a provider's stderr among its diagnostics. */
export function logDebug(topic: string, message: string): void {
  if (isDebugging()) printError(printable`debug ${topic}: ${message}`);
}

/**
 * Logs the command line of a program that is about to start. Environment and stdin, which may carry credentials, are
 * not logged.
 */
export function logCommand(program: string, args: readonly string[]): void {
  if (!isDebugging()) return;
  const words = [program, ...args.map(redactSecrets)].map(quoteShellWord);
  logDebug(basename(program), words.join(" "));
}

/** Names of options and build arguments whose value is a secret. */
const secretName = /((?:pass(?:word|phrase)?|token|secret|credentials?|authorization)\w*[=:])[^\s,]+/gi;
/** The user's part of an address, and its query, which may be signed. */
const addressUser = /(\/\/)[^/@\s]*@/g;
const addressQuery = /(:\/\/[^?\s]*\?)\S+/g;

function redactSecrets(argument: string): string {
  return argument.replace(addressUser, "$1…@").replace(addressQuery, "$1…").replace(secretName, "$1…");
}
