import { readdir, readFile } from "node:fs/promises";

/**
 * Ends the processes that were started with this variable in their environment (proc_pid_environ(5)). Killed, an engine leaves its
 * language host behind, which looks for it only every five minutes. Without /proc it ends none.
 *
 * @param value one that no other run has
 */
export async function terminateOrphans(variable: string, value: string): Promise<void> {
  const names = await readdir("/proc").catch(() => []);
  for (const name of names.filter((id) => /^\d+$/.test(id) && Number(id) !== process.pid)) {
    const environment = await readFile(`/proc/${name}/environ`, "utf8").catch(() => "");
    if (environment.split("\0").includes(`${variable}=${value}`)) end(Number(name));
  }
}

function end(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
