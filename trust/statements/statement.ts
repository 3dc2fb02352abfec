import { z } from "zod";
import { type Digest, hexOf, isDigest } from "../../oci/digest.ts";
import type { Fingerprint } from "../openpgp/fingerprint.ts";
import { quoteUntrusted, SignatureRejection } from "../openpgp/signature-rejection.ts";
import { verifySignedMessage } from "../openpgp/signed-message.ts";
import type { Trust } from "../quorum/quorum.ts";
import { keyOwners } from "../quorum/roster.ts";
import { parseStrictJson } from "../signatures/strict-json.ts";

/**
 * The type that every in-toto statement of this version has (in-toto/attestation,
 * spec/v1/statement.md).
 */
export const statementType = "https://in-toto.io/Statement/v1";

/** The most bytes of a statement. Those of images with hundreds of sources have some 100,000. */
const maxStatementSize = 1024 * 1024;

const statementSchema = z.object({
  _type: z.literal(statementType),
  subject: z
    .array(z.object({ name: z.string(), digest: z.record(z.string(), z.string()) }))
    .min(1, { error: "names no subject" }),
  predicateType: z.string().min(1),
  predicate: z.record(z.string(), z.unknown()),
});

/**
 * An in-toto statement (in-toto/attestation, spec/v1/statement.md). Its author is whoever signs it.
 */
export type Statement = z.infer<typeof statementSchema>;

/** A subject of a statement: a name for people, and the digest, which alone counts. */
export type StatementSubject = { readonly name: string; readonly digest: Digest };

/** Creates a statement about images. */
export function createStatement(
  subjects: readonly StatementSubject[],
  predicateType: string,
  predicate: Readonly<Record<string, unknown>>,
): Statement {
  return {
    _type: statementType,
    subject: subjects.map(({ name, digest }) => ({ name, digest: { sha256: hexOf(digest) } })),
    predicateType,
    predicate,
  };
}

/**
 * Serializes a statement for signing and storing. Statements that were made in the same way have
 * equal bytes.
 */
export function serializeStatement(statement: Statement): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(statement));
}

/** Parses a statement strictly. @throws SignatureRejection for anything else */
export function parseStatement(bytes: Uint8Array): Statement {
  const parsed = statementSchema.safeParse(parseStrictJson(bytes, maxStatementSize));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.map(String).join(".") ?? "";
  throw new SignatureRejection(
    "payload-members",
    `not an in-toto statement: ${quoteUntrusted(`${where}: ${issue?.message}`)}`,
  );
}

/** Returns the digests that a statement is about. */
export function subjectDigests({ subject }: Statement): Digest[] {
  return subject.map(({ digest }) => `sha256:${digest.sha256}`).filter(isDigest);
}

/** A valid signed statement, and its signer. */
export type VerifiedStatement = {
  readonly statement: Statement;
  /** The bytes of the statement, as they were signed. */
  readonly content: Uint8Array;
  /** The person's id in MAINTAINERS. */
  readonly person: string;
  /** Fingerprint of the signer's primary key. */
  readonly fingerprint: Fingerprint;
};

/**
 * Verifies a signed statement as strictly as a signature of an image.
 *
 * The envelope is the same, a binary opaque OpenPGP message, since the keys are OpenPGP keys, often
 * on smart cards for nothing else. DSSE has no such signatures and would need a second verifier. It
 * guards against a payload that is taken for another type; here the statement's `_type` does so,
 * which no payload of an image signature has.
 * @param about the digest that it must be about, and the kind that it must be of
 * @throws SignatureRejection
 */
export async function verifyStatement(
  message: Uint8Array,
  about: { readonly digest: Digest; readonly predicateType: string },
  { roster, keyring }: Trust,
  now = new Date(),
): Promise<VerifiedStatement> {
  const { content, fingerprint } = await verifySignedMessage(message, keyring, now);
  const statement = parseStatement(content);
  if (statement.predicateType !== about.predicateType) {
    throw new SignatureRejection(
      "payload-members",
      `a statement of the type ${quoteUntrusted(statement.predicateType)}, not ${about.predicateType}`,
    );
  }
  if (!subjectDigests(statement).includes(about.digest)) {
    throw new SignatureRejection("other-digest", `the statement is not about ${about.digest}`);
  }
  const person = keyOwners(roster, (key) => keyring.primaryOf(key)).get(fingerprint);
  if (person === undefined) {
    throw new SignatureRejection(
      "not-in-roster",
      `signed with ${fingerprint}, which is nobody's in the roster`,
    );
  }
  return { statement, content, person: person.id, fingerprint };
}
