import { GitError } from "./git.ts";

/**
 * A signed object's signature, and all the rest of it, which was signed (gitformat-signature(5)).
 */
export type SignedPart = {
  readonly payload: Buffer;
  /** Armored, as in the object. */
  readonly signature: string;
};

/** An annotated tag of a commit. */
export type GitTag = {
  /** The commit's name, as the tag has it. */
  readonly commit: string;
  readonly name: string;
  /** Absent where the tag is not signed. */
  readonly signed?: SignedPart;
};

/** The parts of a commit that trust depends on. */
export type GitCommit = {
  readonly parents: readonly string[];
  /** Absent where the commit is not signed. */
  readonly signed?: SignedPart;
};

/**
 * Parses an annotated tag. Its signature begins at a line of the message and ends with the message.
 * Some objects that git accepts are rejected, since two readers may read them differently.
 * @throws GitError where it is no tag of a commit
 */
export function parseGitTag(content: Buffer): GitTag {
  const { headers, message } = partsOf(content, "tag");
  const values = valuesOf(headers, ["object", "type", "tag", "tagger"]);
  if (values === undefined || headers.length > values.length)
    throw new GitError("the tag has other headers than object, type, tag and tagger");
  const [commit = "", type = "", name = ""] = values;
  if (!objectName.test(commit)) throw new GitError("the tag names no object");
  if (type !== "commit") throw new GitError(`the tag is of a ${type}, not of a commit`);
  const begins = [...`\n${message}`.matchAll(/\n-----BEGIN [A-Z0-9 ]{1,40}-----/g)].map(({ index }) => index);
  const [at, another] = begins;
  if (another !== undefined) throw new GitError("the tag has more than one signature");
  if (at === undefined) return { commit, name };
  const payload = Buffer.from(`${headers.join("\n")}\n\n${message.slice(0, at)}`, "latin1");
  return { commit, name, signed: { payload, signature: message.slice(at) } };
}

/**
 * Parses a commit. Its signature is a header, folded over lines that begin with a blank.
 * @param name the commit's name. Its length is that of the repository's format, and so selects the
 * header: `gpgsig` or `gpgsig-sha256`
 * @throws GitError where it is no commit, or has signatures that git and others read differently
 */
export function parseGitCommit(content: Buffer, name: string): GitCommit {
  const { headers, message } = partsOf(content, "commit");
  const parents = parentsOf(content);
  // Headers are tree, parents, author, committer and then any others.
  const start = headers.slice(parents.length + 1);
  if (valuesOf(start, ["author", "committer"]) === undefined || start.slice(2).some(isBeginning))
    throw new GitError("the commit does not begin with tree, parents, author and committer, each once");
  const own = name.length === 64 ? "gpgsig-sha256 " : "gpgsig ";
  const signatures = headers.filter((header) => header.startsWith("gpgsig"));
  const [signature, another] = signatures;
  if (signature === undefined) return { parents };
  if (another !== undefined || !signature.startsWith(own))
    throw new GitError(`the commit has other signatures than one in a header ${own.trim()}`);
  const rest = headers.filter((header) => header !== signature).join("\n");
  return {
    parents,
    signed: {
      payload: Buffer.from(`${rest}\n\n${message}`, "latin1"),
      signature: signature.slice(own.length).replaceAll("\n ", "\n"),
    },
  };
}

/**
 * Parses the parents of a commit, whatever else is in it.
 * @throws GitError where it is no commit
 */
export function parentsOf(content: Buffer): string[] {
  const [tree = "", ...lines] = content.toString("latin1").split("\n");
  const author = lines.findIndex((line) => !line.startsWith("parent "));
  const parents = lines.slice(0, author).map((line) => line.slice("parent ".length));
  const names = [tree.startsWith("tree ") ? tree.slice("tree ".length) : "", ...parents];
  if (author < 0 || !lines[author]?.startsWith("author ") || !names.every((name) => objectName.test(name)))
    throw new GitError("the commit has other headers than tree, parents and author");
  return parents;
}

const objectName = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/**
 * Splits an object into headers, each with its continued lines, and message, with one character for
 * each octet.
 */
function partsOf(
  content: Buffer,
  kind: string,
): { readonly headers: readonly string[]; readonly message: string } {
  const text = content.toString("latin1");
  if (text.includes("\0")) throw new GitError(`the ${kind} has a NUL in it`);
  const end = text.indexOf("\n\n");
  if (end < 0) throw new GitError(`the ${kind} has no message`);
  const headers: string[] = [];
  for (const line of text.slice(0, end).split("\n")) {
    if (!line.startsWith(" ")) headers.push(line);
    else if (headers.length > 0) headers.push(`${headers.pop()}\n${line}`);
    else throw new GitError(`the ${kind} begins with a blank`);
  }
  return { headers, message: text.slice(end + 2) };
}

/** Returns the values of the first headers, if they are these, in this order, each on one line. */
function valuesOf(headers: readonly string[], names: readonly string[]): string[] | undefined {
  const areThese = names.every(
    (name, at) => headers[at]?.startsWith(`${name} `) && !headers[at]?.includes("\n"),
  );
  return areThese ? names.map((name, at) => headers[at]?.slice(name.length + 1) ?? "") : undefined;
}

/** Returns whether a header must come before all others. */
function isBeginning(header: string): boolean {
  return /^(?:tree|parent|author|committer) /.test(header);
}
