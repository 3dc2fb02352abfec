import { fstatSync } from "node:fs";

/** How often to compare the parent, in milliseconds. */
const parentPoll = 1000;

/**
 * Calls back once the engine has ended, however that happens: killed, it can't say goodbye.
 *
 * The engine keeps the other end of its providers' stdin for as long as it lives (pulumi/pulumi: `ExecPlugin`, `cmd.StdinPipe`), and
 * the kernel closes that with it. So the end of stdin is the engine's, even where it was gone before this process ran its first line.
 * The parent's number alone can't tell: read late it is that of whoever adopts orphans, and stays so. It serves where stdin is no pipe.
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
