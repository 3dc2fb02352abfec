import { execve } from "node:process";
import { printable } from "../../lib/text/printable.ts";
import { findExecutable } from "../../tools/executable.ts";
import { CommandError, exitCode } from "../output/exit-code.ts";

/**
 * Replaces this process by another program (execve(2)), which gets its id, terminal and signals.
 * The exit code of the program becomes that of the command.
 *
 * @param file an absolute path, or a name that is looked up on the environment's PATH
 */
export async function execProgram(
  file: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
): Promise<never> {
  const path = file.startsWith("/") ? file : await findExecutable(file, environment);
  if (path === null || execve === undefined) {
    throw new CommandError(printable`can't run ${file}: it is not on PATH`, exitCode.unavailable);
  }
  return execve(path, [file, ...args], environment);
}
