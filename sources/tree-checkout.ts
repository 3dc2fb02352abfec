import { execFile } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { access, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

const execute = promisify(execFile);

/** Where a tree is: a folder on this machine, or a commit or tag of a git repository elsewhere. */
export type TreeAddress =
  | { readonly kind: "folder"; readonly folder: string }
  | { readonly kind: "git"; readonly url: string; readonly revision: string };

const gitUrl = /^(https|ssh|file):\/\/|^[\w.-]+@[\w.-]+:/;
const fullCommit = /^[0-9a-f]{40}([0-9a-f]{24})?$/;
const tagName = /^(?![-/.])(?!.*(\.\.|@\{|\/\/|\/\.|\.lock$))[\w./+-]+(?<![/.])$/;

/**
 * Parses what `stagex:tree` says: a folder (relative ones to `base`), or `<git URL>#<full commit or tag>`.
 * A branch or a shortened commit would be another tree tomorrow, so neither is allowed.
 */
export function parseTreeAddress(text: string, base: string): TreeAddress {
  if (!gitUrl.test(text)) {
    if (/^\w+:\/\//.test(text))
      throw new Error(`stagex:tree ${JSON.stringify(text)}: only https, ssh and file URLs can be a tree`);
    return { kind: "folder", folder: resolve(base, text) };
  }
  const [url = "", ...rest] = text.split("#");
  const revision = rest.join("#");
  if (URL.canParse(url) && new URL(url).password !== "") {
    throw new Error(
      "stagex:tree: a URL with a password in it ends up in logs and in the configuration, in clear text. " +
        "Leave it out, and let git's credential helper have it: git help credentials",
    );
  }
  if (revision === "") {
    throw new Error(
      `stagex:tree ${JSON.stringify(text)} names no revision: add "#" and a full commit or a tag, as in ${url}#2026.03.0`,
    );
  }
  if (!fullCommit.test(revision) && !tagName.test(revision)) {
    throw new Error(
      `stagex:tree: ${JSON.stringify(revision)} is neither a full commit (40 hex digits) nor a tag's name`,
    );
  }
  if (/^[0-9a-f]{7,39}$/.test(revision)) {
    throw new Error(
      `stagex:tree: ${revision} looks like a shortened commit, and several may begin so: give all 40 hex digits`,
    );
  }
  return { kind: "git", url, revision };
}

/**
 * The folder of a tree. One in git is checked out into the cache once, by commit, and found there from then on, offline
 * too; a tag stays at the commit it had when it was first seen here. A checkout that was cut short is made again.
 */
export async function openTree(
  address: TreeAddress,
  cache: string,
  onProgress: (line: string) => void = () => {},
): Promise<string> {
  if (address.kind === "folder") {
    await access(address.folder).catch(() => {
      throw new Error(`stagex:tree: no folder ${address.folder}`);
    });
    return address.folder;
  }
  const home = join(cache, createHash("sha256").update(address.url).digest("hex").slice(0, 16));
  await mkdir(join(home, "tags"), { recursive: true });
  const commit = fullCommit.test(address.revision)
    ? address.revision
    : await commitOfTag(address.url, address.revision, home);
  const checkout = join(home, commit);
  if (await exists(checkout)) {
    await expectUntouched(checkout, address, commit);
    return checkout;
  }
  onProgress(`checking out ${address.url} at ${address.revision}`);
  await sweepCutShort(home);
  const making = `${checkout}.making-${process.pid}-${randomUUID()}`;
  try {
    await checkOut(address.url, address.revision, commit, making);
    await rename(making, checkout);
  } catch (error) {
    await rm(making, { recursive: true, force: true });
    if (!(await exists(checkout))) throw error;
  }
  return checkout;
}

/** What a tree is made of: its sources and what is built of it may come to lie beside that. */
const treeParts = ["packages", "digests", "MAINTAINERS"];

/** A commit is asked for, so nothing else may be read in its name. */
async function expectUntouched(
  checkout: string,
  { url, revision }: { url: string; revision: string },
  commit: string,
): Promise<void> {
  const head = (await git(["-C", checkout, "rev-parse", "HEAD"])).trim();
  const status = ["--no-optional-locks", "-C", checkout, "status", "--porcelain", "--", ...treeParts];
  const [first] = (await git(status)).split("\n");
  if (head === commit && first === "") return;
  throw new Error(
    `stagex:tree: somebody changed the checkout of ${url} at ${revision} in the cache ` +
      `(${first ? JSON.stringify(first.trim()) : `it is at ${head}`}). To take it anew: rm -r ${checkout}`,
  );
}

async function checkOut(url: string, revision: string, commit: string, folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await git(["init", "--quiet", folder]);
  const wanted = revision === commit ? commit : `refs/tags/${revision}`;
  await git(["-C", folder, "fetch", "--quiet", "--depth=1", "--", url, wanted]);
  const got = (await git(["-C", folder, "rev-parse", "FETCH_HEAD^{commit}"])).trim();
  if (got !== commit) throw new Error(movedTag(url, revision, commit, got));
  // The bytes of the commit, whatever the user's own settings would make of them.
  await git(["-C", folder, "-c", "core.autocrlf=false", "checkout", "--quiet", "--detach", commit]);
}

function movedTag(url: string, tag: string, known: string, now: string): string {
  return (
    `stagex:tree: ${url} has moved its tag ${tag}, which was commit ${known} when it was first seen here, to ${now}. ` +
    `Ask its maintainers why; to take the new one: pulumi config set stagex:tree ${url}#${now}`
  );
}

/** Removes what killed processes left of their checkouts. Their git may live on for a while, and still write there. */
async function sweepCutShort(home: string): Promise<void> {
  for (const name of await readdir(home)) {
    const pid = /\.making-(\d+)-/.exec(name)?.[1];
    if (pid && !isRunning(Number(pid))) {
      await rm(join(home, name), { recursive: true, force: true, maxRetries: 5 }).catch(ifNotEmpty);
    }
  }
}

/** Left for a later sweep: it is in nobody's way. */
function ifNotEmpty(error: unknown): void {
  if (!(error instanceof Error) || !("code" in error) || error.code !== "ENOTEMPTY") throw error;
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

async function commitOfTag(url: string, tag: string, home: string): Promise<string> {
  const known = join(home, "tags", encodeURIComponent(tag));
  const recorded = await readFile(known, "utf8").catch(() => "");
  if (fullCommit.test(recorded.trim())) return recorded.trim();
  const name = `refs/tags/${tag}`;
  const listed = (await git(["ls-remote", "--tags", "--", url, name, `${name}^{}`])).trim().split("\n");
  const tags = new Map(listed.map((line) => [line.split("\t")[1], line.split("\t")[0]]));
  // An annotated tag is listed twice: as itself, and with "^{}" as the commit that it points at.
  const commit = tags.get(`${name}^{}`) ?? tags.get(name);
  if (commit === undefined) {
    throw new Error(
      `stagex:tree: ${url} has no tag ${JSON.stringify(tag)} (branches are not allowed: they move). ` +
        `Its tags: git ls-remote --tags ${url}`,
    );
  }
  const noting = join(home, `tag.making-${process.pid}-${randomUUID()}`);
  await writeFile(noting, `${commit}\n`);
  await rename(noting, known);
  return commit;
}

async function git(args: string[]): Promise<string> {
  try {
    // Set by git for its hooks and aliases; they would name another repository than the tree's.
    const { GIT_DIR: _dir, GIT_WORK_TREE: _tree, GIT_INDEX_FILE: _index, ...own } = process.env;
    const environment = { ...own, GIT_TERMINAL_PROMPT: "0" };
    return (await execute("git", args, { env: environment, maxBuffer: 64 << 20 })).stdout;
  } catch (error) {
    const { stderr, code } = error as { stderr?: string; code?: unknown };
    if (code === "ENOENT")
      throw new Error("git is not installed; a tree from a git URL needs it: apt-get install git");
    throw new Error(
      `git ${args.filter((arg) => !arg.startsWith("-")).join(" ")}: ${stderr?.trim() || String(error)}`,
    );
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
