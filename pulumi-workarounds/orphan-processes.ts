import { readdir, readFile } from "node:fs/promises";
import { errorCode } from "../lib/fs/error-code.ts";

/**
 * Terminates the processes that were started with this variable in their environment
 * (proc_pid_environ(5)); without /proc, none.
 *
 * A killed engine leaves its language host behind, which checks every five minutes that the engine
 * is there.
 *
 * Upstream: https://github.com/pulumi/pulumi/issues/8696, closed by the check,
 * https://github.com/pulumi/pulumi/pull/9735.
 *
 * Remove when a language host ends with its engine.
 *
 * @param value one that no other run has
 */
export async function terminateOrphans(variable: string, value: string): Promise<void> {
  const names = await readdir("/proc").catch(() => []);
  for (const name of names.filter((id) => /^\d+$/.test(id) && Number(id) !== process.pid)) {
    const environment = await readFile(`/proc/${name}/environ`, "utf8").catch(() => "");
    if (environment.split("\0").includes(`${variable}=${value}`)) terminate(Number(name));
  }
}

function terminate(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch (error) {
    if (errorCode(error) !== "ESRCH") throw error;
  }
}
