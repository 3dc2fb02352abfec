import { fstatSync } from "node:fs";

/** How often to compare the parent, in milliseconds. */
const parentPoll = 1000;

/**
 * Calls back once the engine has ended. A killed engine sends its providers neither Cancel nor a
 * signal, and they run on.
 *
 * The engine keeps the other end of its providers' stdin while it lives (pulumi/pulumi:
 * `ExecPlugin`, `cmd.StdinPipe`), and the kernel closes that with the engine. So the end of stdin
 * tells of its end, even if it ended before the first line of this process ran. The parent's
 * process id does not: read late, it is that of the process which adopts orphans. It serves where
 * stdin is no pipe.
 *
 * Upstream: https://github.com/pulumi/pulumi/issues/8696; its fix,
 * https://github.com/pulumi/pulumi/pull/9735, polls the engine's health every five minutes, from
 * Go's provider library alone.
 *
 * Remove when the engine ends its providers however it ends itself.
 */
export function onEngineEnd(ended: () => void): void {
  if (isPipe(0)) {
    for (const event of ["end", "error", "close"] as const) process.stdin.once(event, ended);
    process.stdin.resume();
  }
  const engine = process.ppid;
  setInterval(() => {
    if (process.ppid !== engine) ended();
  }, parentPoll).unref();
}

function isPipe(descriptor: number): boolean {
  try {
    const found = fstatSync(descriptor);
    return found.isFIFO() || found.isSocket();
  } catch {
    return false;
  }
}
