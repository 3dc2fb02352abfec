import { readFileSync } from "node:fs";
import { errorCode } from "./error-code.ts";

/**
 * A process of this machine. The number alone is not enough: the kernel gives it to another process
 * later. `started` is the kernel's start time in clock ticks since boot (proc_pid_stat(5), field
 * 22). Without /proc it is 0, and only the number is compared.
 */
export type ProcessIdentity = { readonly pid: number; readonly started: number };

type ProcessState = { readonly started: number; readonly zombie: boolean };

/**
 * Returns the identity of the running process with this number; undefined where there is none, or a
 * zombie.
 */
export function identityOf(pid: number): ProcessIdentity | undefined {
  if (process.platform !== "linux") return isSignalable(pid) ? { pid, started: 0 } : undefined;
  const state = readState(pid);
  return state === undefined || state.zombie ? undefined : { pid, started: state.started };
}

/** Returns whether this very process still runs. */
export function isAlive(process: ProcessIdentity): boolean {
  return identityOf(process.pid)?.started === process.started;
}

let own: ProcessIdentity | undefined;

/** Returns the identity of this process. */
export function ownIdentity(): ProcessIdentity {
  own ??= identityOf(process.pid) ?? { pid: process.pid, started: 0 };
  return own;
}

/** Formats an identity as `<pid>.<started>`, for file names. */
export function formatIdentity(identity: ProcessIdentity): string {
  return `${identity.pid}.${identity.started}`;
}

/**
 * Parses the identity at the front of a name such as `<pid>.<started>` or `<pid>.<started>.x`;
 * undefined for other names.
 */
export function parseIdentity(name: string): ProcessIdentity | undefined {
  const match = /^(\d+)\.(\d+)(?:\.|$)/.exec(name);
  return match ? { pid: Number(match[1]), started: Number(match[2]) } : undefined;
}

function readState(pid: number): ProcessState | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // The second field, the command in parentheses, may itself hold spaces and parentheses: count
  // from its end.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { started: Number(fields[19]), zombie: fields[0] === "Z" || fields[0] === "X" };
}

function isSignalable(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === "EPERM";
  }
}
