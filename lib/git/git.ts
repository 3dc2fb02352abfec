import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { delimiter, isAbsolute } from "node:path";
import { escapeControlCharacters } from "../text/escape-control-characters.ts";

/** The kinds of failed calls. */
export type GitProblem = "not-installed" | "failed" | "over-limit";

/** A failed call of git. The message is git's own, bounded, escaped and without credentials. */
export class GitError extends Error {
  override readonly name: string = "GitError";
  readonly problem: GitProblem;

  constructor(message: string, problem: GitProblem = "failed") {
    super(message);
    this.problem = problem;
  }
}

/** Options of a call of git. */
export type GitCall = {
  /** The working folder. */
  readonly folder: string;
  /** All environment variables: {@link localEnvironment} or {@link networkEnvironment}. */
  readonly environment: NodeJS.ProcessEnv;
  /** The standard input. */
  readonly input?: string;
  /** Time limit, in seconds. */
  readonly seconds?: number;
  /** Limit of the output, in bytes. */
  readonly bytes?: number;
  /**
   * Receives git's output, piece by piece; then {@link runGit} keeps and returns none of it. If it
   * throws, git is ended and the error is thrown.
   */
  readonly onOutput?: (piece: Buffer) => void;
  /** Memory limit of git and of each of its helpers, in MiB. */
  readonly memory?: number;
};

/**
 * Limits git and all that it starts to `$0` KiB of memory and 8 GiB a file (setrlimit(2)). A server
 * or an object that needs more ends git. A system with lower limits keeps them.
 */
const bounded = 'ulimit -d "$0" 2>/dev/null; ulimit -f 16777216 2>/dev/null; exec git "$@"';
/** The exit code of a shell that finds no such program (POSIX, 2.8.2). */
const notFound = 127;
/** Limit of git's messages, in characters. */
const messageLimit = 4000;

/**
 * Runs git and returns its output. No other function starts git.
 * @throws GitError
 */
export async function runGit(args: readonly string[], call: GitCall): Promise<Buffer> {
  const { folder, environment, input = "", seconds = 60, bytes = 2 ** 30, memory = 2048 } = call;
  const { onOutput = (piece: Buffer) => void printed.push(piece) } = call;
  const child = spawn("/bin/sh", ["-c", bounded, `${memory * 1024}`, ...args], {
    cwd: folder,
    env: environment,
  });
  const printed: Buffer[] = [];
  let [messages, length]: [string, number] = ["", 0];
  let excess: string | undefined;
  let refusal: { readonly error: unknown } | undefined;
  const end = (reason: string) => {
    if (excess !== undefined) return;
    excess = reason;
    // Children first: git does not end those that wait for a server.
    for (const pid of [...descendants(child.pid), child.pid]) endProcess(pid);
    // A process that is left all the same may keep the pipes open.
    for (const pipe of [child.stdout, child.stderr]) pipe.destroy();
  };
  const timer = setTimeout(() => end(`no end after ${seconds} s`), seconds * 1000);
  child.stdout.on("data", (chunk: Buffer) => {
    length += chunk.length;
    if (length > bytes) end(`an answer of more than ${bytes} bytes`);
    else if (excess === undefined) {
      try {
        onOutput(chunk);
      } catch (error) {
        refusal = { error };
        end("its output was refused");
      }
    }
  });
  child.stderr.on("data", (chunk: Buffer) => {
    messages = (messages + chunk.toString("latin1")).slice(0, messageLimit);
  });
  // A git that ends before it has read everything reports the reason itself.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const ended = await new Promise<number | string | null>((resolve, reject) => {
    child.on("error", (error) => reject(new GitError(`git cannot be run: ${error.message}`)));
    child.on("close", (code, signal) => resolve(code ?? signal));
  }).finally(() => clearTimeout(timer));
  const name = `git ${args.find((arg, at) => !arg.startsWith("-") && args[at - 1] !== "-c")}`;
  if (refusal !== undefined) throw refusal.error;
  if (excess !== undefined) throw new GitError(`${name} was ended: ${excess}`, "over-limit");
  if (ended === 0) return Buffer.concat(printed);
  if (ended === notFound) throw new GitError(notInstalled, "not-installed");
  throw new GitError(formatMessages(messages) || `${name} ended with ${ended}`);
}

/** Returns the output of `git version`; null where there is no git on the environment's PATH. */
export async function gitVersion({ PATH }: NodeJS.ProcessEnv): Promise<string | null> {
  const environment = { ...localEnvironment("/dev/null/none", null), PATH: absoluteOnly(PATH) };
  try {
    return (await runGit(["version"], { folder: "/", environment, seconds: 20 })).toString();
  } catch (error) {
    if (error instanceof GitError) return null;
    throw error;
  }
}

/** Lists the descendants of a process, the last ones first (proc(5), "children"). */
function descendants(pid: number | undefined): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
    return children.filter(Boolean).flatMap((child) => [...descendants(Number(child)), Number(child)]);
  } catch {
    return [];
  }
}

function endProcess(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(pid, "SIGKILL");
  } catch {
    // It has ended already.
  }
}

const notInstalled =
  "git is not installed, or not on PATH, and a tree in a git repository needs it: apt-get install git";

/** Escapes git's messages, which a server or a tree may have written. */
function formatMessages(messages: string): string {
  const text = Buffer.from(messages, "latin1").toString().trim();
  const lines = text.replaceAll(/(https?:\/\/)[^/@\s']+@/g, "$1…@").split("\n");
  // Indented, so that no foreign line passes for one of this program.
  return lines.map(escapeControlCharacters).join("\n  ");
}

/**
 * Returns the environment of a git that reads one local repository and no configuration of the
 * user.
 */
export function localEnvironment(gitFolder: string, workTree: string | null): NodeJS.ProcessEnv {
  return {
    ...ownEnvironment(["GIT_EXEC_PATH"]),
    GIT_DIR: gitFolder,
    ...(workTree === null ? {} : { GIT_WORK_TREE: workTree }),
    // No configuration of the user's or the system's. Before 2.32, git finds the user's only by
    // HOME and XDG_CONFIG_HOME.
    GIT_CONFIG_GLOBAL: "/dev/null",
    HOME: "/dev/null",
    XDG_CONFIG_HOME: "/dev/null",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_ATTR_NOSYSTEM: "1",
    // No transport at all, so that nothing is fetched that a partial clone lacks.
    GIT_ALLOW_PROTOCOL: "",
    GIT_NO_LAZY_FETCH: "1",
    // No object replaces another (git-replace(1)).
    GIT_NO_REPLACE_OBJECTS: "1",
    GIT_LITERAL_PATHSPECS: "1",
  };
}

/**
 * Variables with which users configure git's access to servers. All other `GIT_*` of the caller are
 * dropped.
 */
const usersOwn = [
  ...["GIT_EXEC_PATH", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GIT_ASKPASS"],
  ...["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"],
  ...["GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_CERT", "GIT_SSL_KEY"],
  ...["GIT_PROXY_SSL_CAINFO", "GIT_HTTP_PROXY_AUTHMETHOD"],
];

/**
 * Returns the environment of a git that connects to a server. It reads the user's configuration
 * (credential helpers, proxies), and no repository's. Protocols are those of a tree's address, also
 * after a redirect or a rewrite by `insteadOf`.
 * @param gitFolder the repository that gets the objects; none by default
 */
export function networkEnvironment(gitFolder = "/dev/null/none"): NodeJS.ProcessEnv {
  const own = ownEnvironment(usersOwn);
  return { ...own, GIT_DIR: gitFolder, GIT_ALLOW_PROTOCOL: "https:ssh:file", GIT_NO_LAZY_FETCH: "1" };
}

function ownEnvironment(kept: readonly string[]): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("GIT_") || kept.includes(name));
  return {
    ...Object.fromEntries(own),
    PATH: absoluteOnly(process.env.PATH),
    LC_ALL: "C",
    GIT_OPTIONAL_LOCKS: "0",
    GIT_TERMINAL_PROMPT: "0",
  };
}

/** Removes relative entries of PATH, which would be looked up in the tree. */
function absoluteOnly(path = ""): string {
  const folders = path.split(delimiter).filter((folder) => isAbsolute(folder));
  return folders.join(delimiter);
}
