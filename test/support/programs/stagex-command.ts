import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("../../../cli/stagex.mjs", import.meta.url));

/** The result of a command. */
export type Ended = { readonly code: number; readonly stdout: string; readonly stderr: string };

/** Runs the `stagex` command as a user does. */
export function stagex(...args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], { maxBuffer: 1e8 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}
