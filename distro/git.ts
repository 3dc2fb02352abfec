import { spawn } from "node:child_process";

/** git could not be run, or ended with an error; the message is what it said. */
export class GitError extends Error {
  override readonly name = "GitError";
}

/**
 * Runs git in a folder and returns what it prints. It reads only: no lock is taken, no index refreshed and, in a
 * partial clone, no object fetched.
 * @param input given to it on stdin
 * @throws GitError
 */
export async function git(folder: string, args: readonly string[], input = ""): Promise<Buffer> {
  const child = spawn("git", ["-C", folder, ...args], { env: readingEnvironment(), stdio: "pipe" });
  const [printed, said]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on("data", (chunk: Buffer) => printed.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => said.push(chunk));
  // A git that ends before it has read everything says why by itself.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", (error) => reject(new GitError(`git cannot be run: ${error.message}`)));
    child.on("close", resolve);
  });
  if (code === 0) return Buffer.concat(printed);
  throw new GitError(Buffer.concat(said).toString().trim() || `git ${args[0]} ended with ${code}`);
}

function readingEnvironment(): NodeJS.ProcessEnv {
  // Set by git for its hooks and aliases; they would name another repository than the folder's.
  const { GIT_DIR: _dir, GIT_WORK_TREE: _tree, GIT_INDEX_FILE: _index, ...env } = process.env;
  return { ...env, LC_ALL: "C", GIT_OPTIONAL_LOCKS: "0", GIT_NO_LAZY_FETCH: "1" };
}
