import type { Digest } from "../../oci/digest.ts";
import type { Trust } from "../../trust/quorum/quorum.ts";
import { parseRepository } from "../../trust/signatures/image-reference.ts";
import { SignedStatements, type StoredStatement } from "../../trust/statements/signed-statements.ts";
import { parseStatement, subjectDigests } from "../../trust/statements/statement.ts";
import type { ImageStatement } from "./image-statement.ts";

/** The place of an image's signed statements, and the people whose signatures count there. */
export type StatementPlace = {
  /** The name that the image is signed under, without its tag: `stagex/core-sh`. */
  readonly repository: string;
  /** The manifest or index that the image's tags point at. */
  readonly target: Digest;
  /** Folder or address of the lookaside. */
  readonly lookaside: string;
  readonly trust: Trust;
};

/** A person or key that signs statements. */
export type StatementSigner = {
  /** Returns whether a stored statement is already this signer's. */
  isOwn(stored: StoredStatement): boolean;
  /** Signs the payload; returns nothing where the signer may not vouch for it. */
  sign(payload: Uint8Array): Promise<Uint8Array | undefined>;
};

/** The signed copies of a statement, and which of them is the signer's. */
export type SignedCopies = {
  readonly messages: readonly Uint8Array[];
  /** The signer's copy that was there before. */
  readonly before?: StoredStatement;
  /** The file of the copy that was signed now. */
  readonly file?: string;
};

/**
 * Reads the signed copies of a statement from a lookaside, and adds the signer's own where it is
 * missing.
 * @throws TrustError where the lookaside or the keys can't be read, or the signature would not
 * count
 */
export async function signStatement(
  { kind, predicateType, payload }: ImageStatement,
  { repository, target, lookaside, trust }: StatementPlace,
  signer?: StatementSigner,
): Promise<SignedCopies> {
  const statements = new SignedStatements(lookaside, kind);
  const query = { repository: parseRepository(repository), digest: target, predicateType };
  const stored = await statements.readMatching(query, payload, trust);
  const messages = stored.map(({ message }) => message);
  if (signer === undefined) return { messages };
  const before = stored.find((one) => signer.isOwn(one));
  if (before !== undefined) return { messages, before };
  const message = await signer.sign(payload);
  if (message === undefined) return { messages };
  const manifests = subjectDigests(parseStatement(payload));
  return {
    messages: [...messages, message],
    file: await statements.write(query, message, trust, manifests),
  };
}
