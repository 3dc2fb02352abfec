import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { GitError, localEnvironment, networkEnvironment, runGit } from "../../lib/git/git.ts";

/** A full name of a commit, SHA-1 or SHA-256. */
export const fullCommitPattern = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/**
 * Time limits in seconds: for a server to list tags and to send a commit, and for the disk to write
 * its files.
 */
const timeLimits = { listing: 120, fetching: 3600, writing: 300 };

/**
 * Git settings of every transfer. The user's own configuration applies too, but for settings that
 * run more than a transfer needs.
 */
const settings = [
  ...["core.hooksPath=/dev/null", "core.fsmonitor=false", "submodule.recurse=false"],
  ...["gc.auto=0", "maintenance.auto=false", "fetch.writeCommitGraph=false", "transfer.bundleURI=false"],
  // Checks each object that a server sends, and ends a transfer that stalls.
  ...["fetch.fsckObjects=true", "http.lowSpeedLimit=1000", "http.lowSpeedTime=60"],
].flatMap((setting) => ["-c", setting]);

/**
 * Asks a server for the commit of a tag.
 * @returns undefined if it has no such tag
 * @throws GitError, also if the answer is no list of tags
 */
export async function resolveRemoteTag(url: string, tag: string): Promise<string | undefined> {
  const name = `refs/tags/${tag}`;
  const listed = await runGit([...settings, "ls-remote", "--tags", "--", url, name, `${name}^{}`], {
    folder: "/",
    environment: networkEnvironment(),
    seconds: timeLimits.listing,
    bytes: 2 ** 20,
    // git holds the list of all tags and branches in memory.
    memory: 512,
  }).catch((error: unknown) => {
    throw withRequest(error, `git ls-remote ${url} ${name}`);
  });
  const tags = new Map<string, string>();
  for (const line of listed.toString().split("\n").slice(0, -1)) {
    const [commit = "", ref = "", ...more] = line.split("\t");
    if (!fullCommitPattern.test(commit) || !/^refs\/tags\/[^\p{Cc}\s]+$/u.test(ref) || more.length > 0)
      throw new GitError(
        `git ls-remote ${url}: the server's answer is no list of tags: ${JSON.stringify(line)}`,
      );
    tags.set(ref, commit);
  }
  // An annotated tag is listed twice: as itself, and with "^{}" as the commit that it points at.
  return tags.get(`${name}^{}`) ?? tags.get(name);
}

/** A fetched commit, and the requested object, which may be an annotated tag of it. */
export type FetchedCommit = { readonly commit: string; readonly object: string };

/**
 * Fetches one commit into a new repository with a working tree.
 * @param wanted the commit, or `refs/tags/<name>`
 * @param like a commit of the server; the length of its name gives the object format
 * @param withHistory true to fetch the commit's whole ancestry too
 * @throws GitError
 */
export async function fetchCommit(
  url: string,
  wanted: string,
  like: string,
  folder: string,
  withHistory = false,
): Promise<FetchedCommit> {
  const gitFolder = join(folder, ".git");
  await mkdir(folder);
  const format = like.length === 64 ? "sha256" : "sha1";
  const local = { folder, environment: localEnvironment(gitFolder, folder) };
  await runGit(["init", "--quiet", "--template=", `--object-format=${format}`], local);
  const options = ["--quiet", "--no-tags", "--no-recurse-submodules"];
  if (!withHistory) options.push("--depth=1");
  await runGit([...settings, "fetch", ...options, "--", url, wanted], {
    folder,
    environment: networkEnvironment(gitFolder),
    seconds: timeLimits.fetching,
  }).catch((error: unknown) => {
    throw withRequest(error, `git fetch ${url} ${wanted}`);
  });
  const nameOf = async (revision: string): Promise<string> => {
    const name = (await runGit(["rev-parse", "--verify", revision], local)).toString().trim();
    if (!fullCommitPattern.test(name)) throw new GitError(`git fetch ${url} ${wanted}: no commit came`);
    return name;
  };
  return { commit: await nameOf("FETCH_HEAD^{commit}"), object: await nameOf("FETCH_HEAD") };
}

/** Bounds of a checkout in bytes: all its files, and their list (about a million files). */
const treeLimits = { bytes: 8 * 2 ** 30, list: 2 ** 27 };

/**
 * Writes the files of a fetched commit byte for byte. Attributes of the tree and settings of the
 * user change nothing.
 * @throws GitError
 */
export async function writeCommit(commit: string, folder: string): Promise<void> {
  const gitFolder = join(folder, ".git");
  const local = { folder, environment: localEnvironment(gitFolder, folder) };
  // A few objects may stand for any number of files.
  const listing = { ...local, bytes: treeLimits.list };
  const listed = (await runGit(["ls-tree", "-r", "-l", "-z", commit], listing)).toString();
  let bytes = 0;
  for (const [, size] of listed.matchAll(/(?:^|\0)\d+ blob \S+ +(\d+)\t/g)) bytes += Number(size);
  if (bytes > treeLimits.bytes)
    throw new GitError(
      `commit ${commit} has ${bytes} bytes in its files, more than the ${treeLimits.bytes} of any tree`,
    );
  const attributes = join(gitFolder, "info/attributes");
  await mkdir(dirname(attributes), { recursive: true });
  await writeFile(attributes, "* -text -crlf !eol -ident !filter !working-tree-encoding\n");
  await runGit(["checkout", "--quiet", "--detach", commit], { ...local, seconds: timeLimits.writing });
}

function withRequest(error: unknown, request: string): unknown {
  if (!(error instanceof GitError) || error.problem === "not-installed") return error;
  return new GitError(`${request}: ${error.message}`, error.problem);
}
