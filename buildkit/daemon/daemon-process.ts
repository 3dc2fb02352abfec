import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { errorCode } from "../../lib/fs/error-code.ts";
import { identityOf, isAlive, type ProcessIdentity } from "../../lib/fs/pid-identity.ts";
import { longestLog } from "../client/build-log.ts";
import { daemonConfig } from "./daemon-config.ts";
import { type DaemonFolders, makeRunFolder } from "./daemon-folders.ts";

/** The programs of a daemon, as absolute paths. */
export type DaemonPrograms = { readonly buildkitd: string; readonly runc: string };

/** In milliseconds. */
const [startTimeout, answerTimeout, stopTimeout] = [60_000, 30_000, 15_000];

/**
 * Starts buildkitd in a session of its own and waits until it answers.
 * @throws Error with the end of its log, where it does not
 */
export async function startDaemon(
  programs: DaemonPrograms,
  folders: DaemonFolders,
  signal?: AbortSignal,
): Promise<ProcessIdentity> {
  await sweepLeftovers(folders);
  await makeRunFolder(folders);
  await writeFile(folders.config, privateDaemonConfig(programs, folders));
  await linkRuntime(programs, folders);
  const child = spawnDaemon(programs, folders);
  const ended = once(child, "exit").then(
    ([code, killer]) => `it ended at once (${code ?? killer})`,
    (error: unknown) => `${programs.buildkitd} can't be run (${String(error)})`,
  );
  const settled = new AbortController();
  const stop = AbortSignal.any(signal ? [signal, settled.signal] : [settled.signal]);
  const failure = await Promise.race([ended, untilAnswering(folders.socket, startTimeout, stop)]);
  settled.abort();
  const identity = child.pid === undefined ? undefined : identityOf(child.pid);
  if (failure === undefined && identity !== undefined) return identity;
  if (identity !== undefined) await stopDaemon(identity, folders);
  await rm(folders.run, { recursive: true, force: true });
  signal?.throwIfAborted();
  throw await startError(failure ?? "it ended at once", folders);
}

function spawnDaemon(programs: DaemonPrograms, folders: DaemonFolders): ChildProcess {
  const log = openSync(folders.log, "w", 0o600);
  const child = spawn(programs.buildkitd, ["--config", folders.config], {
    detached: true,
    stdio: ["ignore", log, log],
    env: daemonEnvironment(folders),
  });
  closeSync(log);
  child.unref();
  return child;
}

/**
 * Whether the running daemon answers within 30 seconds: a daemon that is busy with builds is not
 * dead.
 */
export async function isAnswering(socket: string, signal?: AbortSignal): Promise<boolean> {
  return (await untilAnswering(socket, answerTimeout, signal)) === undefined;
}

/**
 * Stops the daemon, by force after 15 seconds, and then removes the processes and mounts that its
 * builds have left.
 */
export async function stopDaemon(daemon: ProcessIdentity, folders: DaemonFolders): Promise<void> {
  kill(daemon, "SIGTERM");
  for (const start = Date.now(); isAlive(daemon) && Date.now() - start < stopTimeout; ) await sleep(50);
  kill(daemon, "SIGKILL");
  while (isAlive(daemon)) await sleep(20);
  await sweepLeftovers(folders);
}

/**
 * Removes the running containers and mounted overlays that a killed buildkitd has left: by this
 * daemon's control group, and by the mount points below its state. Finds an unrecorded daemon,
 * whose starter was killed, by its command line.
 */
export async function sweepLeftovers(folders: DaemonFolders): Promise<void> {
  const left = await processesWhere(
    (cgroup, words) =>
      cgroup.includes(`/${folders.cgroup}/`) || (words[1] === "--config" && words[2] === folders.config),
  );
  for (const process of left) kill(process, "SIGKILL");
  for (let tries = 0; left.some(isAlive) && tries < 250; tries++) await sleep(20);
  // The newest first: a mount below another can't be unmounted.
  for (const point of (await mountPointsBelow(folders.state)).reverse()) {
    await promisify(execFile)("umount", ["--lazy", point]).catch(() => undefined);
  }
}

/**
 * Lists the mount points below a folder, oldest first (proc_pid_mountinfo(5): field 5, with blanks
 * in octal).
 */
async function mountPointsBelow(folder: string): Promise<string[]> {
  const mounts = await readFile("/proc/self/mountinfo", "utf8").catch(() => "");
  return mounts
    .split("\n")
    .map((line) =>
      (line.split(" ")[4] ?? "").replace(/\\([0-7]{3})/g, (_, octal) =>
        String.fromCharCode(Number.parseInt(octal, 8)),
      ),
    )
    .filter((point) => point.startsWith(`${folder}/`));
}

/**
 * Lists the running processes by their control groups (proc_pid_cgroup(5)) and the words of their
 * command line.
 */
async function processesWhere(
  isMatch: (cgroup: string, words: readonly string[]) => boolean,
): Promise<ProcessIdentity[]> {
  const read = (pid: string, file: string) => readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "");
  const found = (await readdir("/proc").catch(() => []))
    .filter((name) => /^\d+$/.test(name))
    .map(async (pid) => {
      const words = (await read(pid, "cmdline")).split("\0");
      return isMatch(await read(pid, "cgroup"), words) ? (identityOf(Number(pid)) ?? []) : [];
    });
  return (await Promise.all(found)).flat();
}

function kill(process_: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isAlive(process_)) return;
  try {
    process.kill(process_.pid, signal);
  } catch (error) {
    if (errorCode(error) !== "ESRCH") throw error;
  }
}

/** Waits until the daemon answers; returns the reason where it does not in time, or was aborted. */
async function untilAnswering(
  socket: string,
  timeout: number,
  signal?: AbortSignal,
): Promise<string | undefined> {
  for (const start = Date.now(); Date.now() - start < timeout; await sleep(50)) {
    if (signal?.aborted) return "aborted";
    if (await answers(socket)) return undefined;
  }
  return `it did not answer within ${timeout / 1000} s`;
}

/** Whether an HTTP/2 server on the socket sends its settings. */
async function answers(socket: string): Promise<boolean> {
  const session = connectHttp2("http://localhost", { createConnection: () => connect(socket) });
  try {
    await once(session, "remoteSettings", { signal: AbortSignal.timeout(2_000) });
    return true;
  } catch {
    return false;
  } finally {
    session.on("error", () => {});
    session.destroy();
  }
}

/**
 * Links runc into the run folder: buildkitd has an OCI worker only with a `runc` on its PATH,
 * whatever `binary` is.
 */
async function linkRuntime(programs: DaemonPrograms, folders: DaemonFolders): Promise<void> {
  const link = join(folders.run, "runc");
  await rm(link, { force: true });
  await symlink(programs.runc, link);
}

/**
 * Returns the daemon's environment: no proxy, no telemetry, no variable of the user. A step's log
 * is whole up to our own limit: by default BuildKit cuts it at 2 MiB, and drops output faster than
 * 200 KiB a second.
 */
function daemonEnvironment({ run }: DaemonFolders): NodeJS.ProcessEnv {
  return {
    PATH: [run, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].join(":"),
    HOME: run,
    BUILDKIT_STEP_LOG_MAX_SIZE: String(longestLog),
    BUILDKIT_STEP_LOG_MAX_SPEED: "-1",
  };
}

function privateDaemonConfig(programs: DaemonPrograms, folders: DaemonFolders): string {
  const text = (value: string) => JSON.stringify(value);
  return daemonConfig({
    top: `# Written by stagex at each start.
root = ${text(folders.state)}`,
    tables: `
[grpc]
  address = [${text(`unix://${folders.socket}`)}]
  uid = ${userInfo().uid}
  gid = ${userInfo().gid}

[otel]
  socketPath = ${text(join(folders.run, "otel.sock"))}

[worker.oci]
  enabled = true
  binary = ${text(programs.runc)}
  defaultCgroupParent = ${text(folders.cgroup)}
  gc = true
  reservedSpace = "2GB"
  maxUsedSpace = "40GB"
  minFreeSpace = "10%"
`,
  });
}

async function startError(failure: string, folders: DaemonFolders): Promise<Error> {
  const log = await readFile(folders.log, "utf8").catch(() => "");
  const tail = withoutStack(log.trim().split("\n")).slice(-12).join("\n");
  const end = tail === "" ? `${folders.log} is empty.` : `The end of ${folders.log}:\n${tail}`;
  return new Error(
    [`BuildKit did not start: ${failure}.`, likelyHint(tail), `\n${end}`].filter(Boolean).join(" "),
  );
}

/** Removes Go's stack: each function's line, and the indented line of its place. */
function withoutStack(lines: readonly string[]): string[] {
  return lines.filter((line, index) => !line.startsWith("\t") && !lines[index + 1]?.startsWith("\t"));
}

const otherBuilder = "or give a BuildKit that runs elsewhere: BUILDKIT_HOST=docker-container://NAME";

const hints: readonly (readonly [RegExp, string])[] = [
  [/could not lock|database .*timeout/, "Another buildkitd uses this state folder; stop it first."],
  [
    /runc does not exist|no worker found/,
    "It found no OCI runtime: npm run stagex doctor lists what is missing.",
  ],
  [/no space left/, "The disk is full."],
  [/overlay.*(not supported|no such device)/, "The kernel has no overlay file system: modprobe overlay."],
];

function likelyHint(log: string): string {
  const known = hints.find(([pattern]) => pattern.test(log))?.[1];
  if (known !== undefined) return known;
  if (process.getuid?.() !== 0) return `It needs root here: run this with sudo, ${otherBuilder}.`;
  return /permission denied|not permitted/i.test(log)
    ? `This machine does not let it make containers: ${otherBuilder}.`
    : "";
}
