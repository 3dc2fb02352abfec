import { createHash, randomUUID } from "node:crypto";
import { access, mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { replaceFile } from "../../lib/fs/atomic-write.ts";
import { readRegularFile } from "../../lib/fs/regular-file.ts";
import { readObjects, verifiedContent } from "../../lib/git/git-objects.ts";
import { requireRepository } from "../../lib/git/git-repository.ts";
import { findFirstChange } from "./checkout-changes.ts";
import { fetchCommit, fullCommitPattern, resolveRemoteTag, writeCommit } from "./git-remote.ts";
import {
  AuthenticityError,
  type AuthenticityPolicy,
  type NamedCommit,
  requireAuthentic,
} from "./tree-authenticity.ts";

/**
 * The address of a tree: a folder on this machine, or a commit or tag of a git repository
 * elsewhere.
 */
export type TreeAddress =
  | { readonly kind: "folder"; readonly folder: string }
  | { readonly kind: "git"; readonly url: string; readonly revision: string };

const gitUrl = /^(https|ssh|file):\/\/|^[\w.-]+@[\w.-]+:/;
const tagName = /^(?![-/.])(?!.*(\.\.|@\{|\/\/|\/\.|\.lock$))[\w./+-]+(?<![/.])$/;

/**
 * Parses `stagex:tree`: a folder (relative ones to `base`), or `<git URL>#<full commit or tag>`.
 * Branches and shortened commits are rejected, as they may name another tree tomorrow.
 */
export function parseTreeAddress(text: string, base: string): TreeAddress {
  if (!gitUrl.test(text)) {
    if (/^\w+:\/\//.test(text))
      throw new Error(`stagex:tree ${withoutUser(text)}: only https, ssh and file URLs can be a tree`);
    return { kind: "folder", folder: resolve(base, text) };
  }
  const [url = "", ...rest] = text.split("#");
  const revision = rest.join("#");
  rejectCredentials(url);
  if (revision === "") {
    throw new Error(
      `stagex:tree ${JSON.stringify(text)} names no revision: add "#" and a full commit or a tag, as in ${url}#2026.03.0`,
    );
  }
  if (!fullCommitPattern.test(revision) && !tagName.test(revision)) {
    throw new Error(
      `stagex:tree: ${JSON.stringify(revision)} is neither a full commit (40 or 64 hex digits) nor a tag's name`,
    );
  }
  if (/^[0-9a-f]{7,63}$/.test(revision) && !fullCommitPattern.test(revision)) {
    throw new Error(
      `stagex:tree: ${revision} looks like a shortened commit, and several may begin so: give all 40 hex digits (64 of SHA-256)`,
    );
  }
  return { kind: "git", url, revision };
}

/**
 * Rejects a URL with a user's name or a password. With https, a user's name is as often a token.
 */
function rejectCredentials(url: string): void {
  const isUrl = url.includes("://");
  if (isUrl && !URL.canParse(url))
    throw new Error(`stagex:tree ${withoutUser(url)}: no URL that can be parsed`);
  const { protocol, username, password, search } = isUrl ? new URL(url) : scpAddress;
  if (password === "" && search === "" && (username === "" || protocol === "ssh:")) return;
  throw new Error(
    `stagex:tree ${withoutUser(url)}: a URL with a user, a password or a query in it ends up in logs and in the configuration, in clear ` +
      "text. Leave it out, and let git's credential helper have it: git help credentials",
  );
}

/** The parts of `git@host:path`, which names a user of ssh and can't have a password. */
const scpAddress = { protocol: "ssh:", username: "", password: "", search: "" };

/** Returns an address for a message, without the parts that may be secret. */
function withoutUser(text: string): string {
  const [start, end] = [text.indexOf("//"), text.lastIndexOf("@")];
  const shown = start >= 0 && end > start ? `${text.slice(0, start)}//…${text.slice(end)}` : text;
  return JSON.stringify(shown.replace(/[?#].*/, ""));
}

/** Options for opening a tree. */
export type CheckoutOptions = {
  readonly onProgress?: (line: string) => void;
  /** The required signers of a tree from git; a tree of any author is accepted where not given. */
  readonly authenticity?: AuthenticityPolicy;
};

/**
 * Returns the folder of a tree. A tree in git is checked out into the cache once, by commit, and
 * reused from then on, also offline. A tag stays at the commit that it had when first seen here. An
 * interrupted checkout is made again.
 */
export async function checkOutTree(
  address: TreeAddress,
  cache: string,
  { onProgress = () => {}, authenticity }: CheckoutOptions = {},
): Promise<string> {
  if (address.kind === "folder") {
    await access(address.folder).catch(() => {
      throw new Error(`stagex:tree: no folder ${address.folder}`);
    });
    if (authenticity === undefined) return address.folder;
    throw new Error(
      `stagex:authenticate: ${address.folder} is a folder, whose files nobody has signed. Name a git URL with a tag or a commit as ` +
        "stagex:tree, or take the folder as it is: pulumi config rm stagex:authenticate",
    );
  }
  const home = join(cache, createHash("sha256").update(address.url).digest("hex").slice(0, 16));
  await mkdir(join(home, "tags"), { recursive: true });
  const { url, revision } = address;
  const commit = fullCommitPattern.test(revision) ? revision : await commitOfTag(url, revision, home);
  // The check of a tree's authors reads the history, which other checkouts leave out.
  const checkout = join(home, authenticity === undefined ? commit : `${commit}.history`);
  if (await exists(checkout)) {
    await expectUntouched(checkout, address, commit);
    await authenticate(checkout, { url, revision, commit }, home, authenticity);
  } else {
    onProgress(`checking out ${url} at ${revision}`);
    await sweepCutShort(home);
    const making = `${checkout}.making-${process.pid}-${randomUUID()}`;
    try {
      await checkOut({ url, revision, commit }, making, home, authenticity);
      await rename(making, checkout);
    } catch (error) {
      await rm(making, { recursive: true, force: true });
      if (error instanceof AuthenticityError || !(await exists(checkout))) throw error;
      await expectUntouched(checkout, address, commit);
      await authenticate(checkout, { url, revision, commit }, home, authenticity);
    }
  }
  if (revision !== commit) await note(notedTag(revision, home), `${commit}\n`);
  return checkout;
}

/** Checks that a checkout in the cache still has exactly the files of its commit. */
async function expectUntouched(
  checkout: string,
  { url, revision }: { url: string; revision: string },
  commit: string,
): Promise<void> {
  const change = await findFirstChange(checkout, commit);
  if (change === undefined) return;
  throw new Error(
    `stagex:tree: somebody changed the checkout of ${url} at ${revision} in the cache ` +
      `(${change}). To take it anew: rm -r ${checkout}`,
  );
}

async function checkOut(
  named: NamedCommit,
  folder: string,
  home: string,
  authenticity: AuthenticityPolicy | undefined,
): Promise<void> {
  const { url, revision, commit } = named;
  const object = await fetchNamed(named, folder, authenticity !== undefined);
  await authenticate(folder, named, home, authenticity, object);
  await writeCommit(commit, folder);
  const change = await findFirstChange(folder, commit);
  if (change !== undefined)
    throw new Error(`stagex:tree: the checkout of ${url} at ${revision} went wrong: ${change}`);
}

/**
 * Fetches a commit by the name that the user gave.
 * @returns the requested object: an annotated tag or the commit
 */
async function fetchNamed(
  { url, revision, commit }: NamedCommit,
  folder: string,
  withHistory: boolean,
): Promise<string> {
  await rm(folder, { recursive: true, force: true });
  const wanted = revision === commit ? commit : `refs/tags/${revision}`;
  const got = await fetchCommit(url, wanted, commit, folder, withHistory);
  if (got.commit !== commit) throw new Error(movedTag(url, revision, commit, got.commit));
  return got.object;
}

/**
 * Checks the authors of a checkout, if a policy is given. Stores a verified tag object beside the
 * tag's commit.
 * @param object the tag's object, if the checkout has it
 */
async function authenticate(
  checkout: string,
  named: NamedCommit,
  home: string,
  authenticity: AuthenticityPolicy | undefined,
  object?: string,
): Promise<void> {
  if (authenticity === undefined) return;
  if (named.revision === named.commit) return await requireAuthentic(checkout, named, authenticity);
  const noted = join(home, "tag-objects", encodeURIComponent(named.revision));
  const tag = (await notedObject(noted)) ?? (await tagObject(checkout, named, object));
  await requireAuthentic(checkout, { ...named, ...(tag === undefined ? {} : { tag }) }, authenticity);
  if (tag === undefined) return;
  await mkdir(join(home, "tag-objects"), { recursive: true });
  await note(noted, tag);
}

/** In bytes; a release's notes have some thousand. */
const maxTagSize = 2 ** 20;

async function notedObject(path: string): Promise<Buffer | undefined> {
  return (await exists(path)) ? await readRegularFile(path, maxTagSize) : undefined;
}

/**
 * Returns the bytes of a tag's object, or undefined where the tag has none of its own. Fetches it
 * where the checkout was made by another name.
 */
async function tagObject(
  checkout: string,
  named: NamedCommit,
  object: string | undefined,
): Promise<Buffer | undefined> {
  if (object !== undefined) return await tagIn(checkout, object);
  const making = `${checkout}.making-${process.pid}-${randomUUID()}`;
  try {
    return await tagIn(making, await fetchNamed(named, making, false));
  } finally {
    await rm(making, { recursive: true, force: true });
  }
}

async function tagIn(folder: string, object: string): Promise<Buffer | undefined> {
  const tag = verifiedContent(await readObjects(await requireRepository(folder), [object]), "tag", object);
  if (tag === undefined || tag.length <= maxTagSize) return tag;
  throw new AuthenticityError(
    `stagex:authenticate: the tag has ${tag.length} bytes, more than the ${maxTagSize} of any tag`,
  );
}

function movedTag(url: string, tag: string, known: string, now: string): string {
  return (
    `stagex:tree: ${url} has moved its tag ${tag}, which was commit ${known} when it was first seen here, to ${now}. ` +
    `Ask its maintainers why; to take the new one: pulumi config set stagex:tree ${url}#${now}`
  );
}

/**
 * Removes unfinished checkouts of killed processes. Their git may live on for a while, and still
 * write there.
 */
async function sweepCutShort(home: string): Promise<void> {
  for (const name of await readdir(home)) {
    const pid = /\.making-(\d+)-/.exec(name)?.[1];
    if (pid && !isRunning(Number(pid))) {
      await rm(join(home, name), { recursive: true, force: true, maxRetries: 5 }).catch(ifNotEmpty);
    }
  }
}

/** Ignores a folder that is not empty: it harms nothing, and a later sweep removes it. */
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
  const recorded = await readFile(notedTag(tag, home), "utf8").catch(() => "");
  if (fullCommitPattern.test(recorded.trim())) return recorded.trim();
  const commit = await resolveRemoteTag(url, tag);
  if (commit === undefined) {
    throw new Error(
      `stagex:tree: ${url} has no tag ${JSON.stringify(tag)} (branches are not allowed: they move). ` +
        `Its tags: git ls-remote --tags ${url}`,
    );
  }
  return commit;
}

/**
 * Stores the commit or object of a tag after its checkout is there. A server's mere claim is not
 * stored.
 */
async function note(path: string, content: string | Buffer): Promise<void> {
  if (await exists(path)) return;
  const temporary = `${join(path, "../../tag")}.making-${process.pid}-${randomUUID()}`;
  await replaceFile(path, content, { temporary });
}

function notedTag(tag: string, home: string): string {
  return join(home, "tags", encodeURIComponent(tag));
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
