import { GitError } from "../../lib/git/git.ts";
import { readObjects, verifiedContent } from "../../lib/git/git-objects.ts";
import { type GitRepository, requireRepository } from "../../lib/git/git-repository.ts";
import { parentsOf, parseGitCommit, parseGitTag, type SignedPart } from "../../lib/git/git-signed-object.ts";
import { runInRepository } from "../../lib/git/isolated-git.ts";

/**
 * The conditions for using a tree from git. The tag that names it is signed, or the commit where a
 * commit names it. The commit also descends from the first trusted one.
 *
 * The commits between may be by anyone: a signature covers a hash of all files, so its signer
 * answers for the tree's content by then. The descent excludes what the same people have signed
 * elsewhere, or earlier.
 */
export type AuthenticityPolicy = {
  /** The first trusted commit. */
  readonly since: string;
  /** Throws unless an allowed person has signed this. */
  readonly requireSigned: (signed: SignedPart) => Promise<void>;
};

/** Raised where a tree is rejected because its authors could not be verified. */
export class AuthenticityError extends Error {
  override readonly name = "AuthenticityError";
}

/** A commit that is requested from a repository, by its own name or by a tag's. */
export type NamedCommit = {
  readonly url: string;
  readonly revision: string;
  readonly commit: string;
  /** The tag's object; undefined where a commit is named, or the tag has no object of its own. */
  readonly tag?: Buffer;
};

/**
 * Checks a commit in a repository before anything is read of its tree.
 * @param folder with the commit and its history
 * @throws AuthenticityError
 */
export async function requireAuthentic(
  folder: string,
  named: NamedCommit,
  { since, requireSigned: mustBeSigned }: AuthenticityPolicy,
): Promise<void> {
  const { url, revision, commit } = named;
  try {
    const repository = await requireRepository(folder);
    const signed = commit === revision ? await signedCommit(repository, commit) : signedTag(named);
    await mustBeSigned(signed);
    if (await descends(repository, commit, since)) return;
    throw new AuthenticityError(`commit ${commit} does not descend from ${since}, the first that is trusted`);
  } catch (error) {
    throw new AuthenticityError(
      `stagex:authenticate: ${url}#${revision} is not used: ${(error as Error).message}. Ask its maintainers; ` +
        "to use a tree whoever made it: pulumi config rm stagex:authenticate",
    );
  }
}

async function signedCommit(repository: GitRepository, commit: string): Promise<SignedPart> {
  const content = verifiedContent(await readObjects(repository, [commit]), "commit", commit);
  if (content === undefined) throw new GitError(`the commit ${commit} is missing or damaged`);
  const { signed } = parseGitCommit(content, commit);
  if (signed === undefined) throw new AuthenticityError(`the commit ${commit} is not signed`);
  return signed;
}

/**
 * Returns the signed part of a tag. Only a signed tag's name counts: a server may give any commit
 * any name.
 */
function signedTag({ revision, commit, tag }: NamedCommit): SignedPart {
  if (tag === undefined)
    throw new AuthenticityError(
      `the tag ${revision} has no object that could be signed (name its commit instead: ${commit})`,
    );
  const { name, commit: signedFor, signed } = parseGitTag(tag);
  if (name !== revision)
    throw new AuthenticityError(
      `what the server has as the tag ${revision} was made as the tag ${JSON.stringify(name)}`,
    );
  if (signedFor !== commit)
    throw new AuthenticityError(
      `the tag ${revision} was made of commit ${signedFor}, and here it is ${commit}`,
    );
  if (signed === undefined) throw new AuthenticityError(`the tag ${revision} is not signed`);
  return signed;
}

/**
 * Returns whether a commit is the ancestor itself or descends from it. Every object on the way is
 * verified by its hash.
 */
async function descends(repository: GitRepository, commit: string, ancestor: string): Promise<boolean> {
  const folder = repository.workTree ?? repository.gitFolder;
  const listed = await runInRepository(repository, folder, ["rev-list", commit]);
  const objects = await readObjects(repository, listed.toString().split("\n").slice(0, -1));
  const reached = new Set([commit]);
  for (const name of reached) {
    if (name === ancestor) return true;
    const content = verifiedContent(objects, "commit", name);
    if (content === undefined) continue;
    for (const parent of parentsOf(content)) reached.add(parent);
  }
  return false;
}
