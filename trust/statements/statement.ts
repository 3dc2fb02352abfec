import { z } from "zod";
import { type Digest, hexOf, isDigest } from "../../oci/digest.ts";
import type { Fingerprint } from "../openpgp/fingerprint.ts";
import { verifyMessage } from "../openpgp/openpgp-message.ts";
import { quoteUntrusted, SignatureRejection } from "../openpgp/signature-rejection.ts";
import type { Trust } from "../quorum/quorum.ts";
import { keyOwners } from "../quorum/roster.ts";
import { parseStrictJson } from "../signatures/strict-json.ts";

/** The type that every in-toto statement of this version has (in-toto/attestation, spec/v1/statement.md). */
export const statementType = "https://in-toto.io/Statement/v1";

/** In bytes. Those of images with hundreds of sources have some hundred thousand. */
const maxStatementSize = 1024 * 1024;

const statementSchema = z.object({
  _type: z.literal(statementType),
  subject: z
    .array(z.object({ name: z.string(), digest: z.record(z.string(), z.string()) }))
    .min(1, { error: "names no subject" }),
  predicateType: z.string().min(1),
  predicate: z.record(z.string(), z.unknown()),
});

/** What is said of something (in-toto/attestation, spec/v1/statement.md): who says it is whoever signed it. */
export type Statement = z.infer<typeof statementSchema>;

/** Of what a statement is: a name for people, and the digest that alone counts. */
export type StatementSubject = { readonly name: string; readonly digest: Digest };

/** A statement about images. */
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

/** The bytes that are signed and stored; equal statements that were made in the same way are equal bytes. */
export function serializeStatement(statement: Statement): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(statement));
}

/** Throws a Rejection for all that is not exactly a statement. */
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

/** The digests that a statement is about. */
export function subjectDigests({ subject }: Statement): Digest[] {
  return subject.map(({ digest }) => `sha256:${digest.sha256}`).filter(isDigest);
}

/** A signed statement that holds, and who says it. */
export type VerifiedStatement = {
  readonly statement: Statement;
  /** Its bytes, as they were signed. */
  readonly content: Uint8Array;
  /** The person's id in MAINTAINERS. */
  readonly person: string;
  /** Of the primary key. */
  readonly fingerprint: Fingerprint;
};

/**
 * Verifies a signed statement as strictly as a signature of an image. The envelope is the same: a binary opaque OpenPGP message, since
 * the keys here are OpenPGP's and on smart cards that know nothing else. DSSE has no signature of that kind; it would ask for a second
 * verifier, and what it guards against (a payload taken for one of another type) the statement's own `_type` does here: no payload of an
 * image's signature has one.
 * @param about what it must be about, and what kind it must be of
 * @throws Rejection
 */
export async function verifyStatement(
  message: Uint8Array,
  about: { readonly digest: Digest; readonly predicateType: string },
  { roster, keyring }: Trust,
  now = new Date(),
): Promise<VerifiedStatement> {
  const { content, fingerprint } = await verifyMessage(message, keyring, now);
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
