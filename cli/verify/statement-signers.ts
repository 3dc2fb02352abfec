import { type Digest, digestOf } from "../../oci/digest.ts";
import {
  predicateTypes,
  type StatementKind,
  statementKinds,
} from "../../pipeline/statements/image-statement.ts";
import type { Trust } from "../../trust/quorum/quorum.ts";
import type { Repository } from "../../trust/signatures/image-reference.ts";
import type { SignedStatements } from "../../trust/statements/signed-statements.ts";
import { subjectDigests } from "../../trust/statements/statement.ts";
import { TrustError } from "../../trust/trust-error.ts";

/**
 * People in the roster who signed a statement of one kind about an image: one entry for each file.
 */
export type StatementSigners = {
  readonly kind: StatementKind;
  readonly said: readonly { readonly file: string; readonly person: string; readonly fingerprint: string }[];
};

/**
 * Parses a list of kinds of statements: `provenance,sbom`.
 * @throws Error that quotes the text and names what is allowed
 */
export function parseStatementKinds(text: string): readonly StatementKind[] {
  return [...new Set(text.split(","))].map((name) => {
    const kind = statementKinds.find((one) => one === name);
    if (kind !== undefined) return kind;
    throw new Error(
      `not a kind of statement: ${JSON.stringify(name.slice(0, 100))} (expected ${statementKinds.join(", or ")}, or both with a comma)`,
    );
  });
}

/**
 * Finds the valid statements about an image. They are stored under the digest that the image's tags
 * point at, and usually under every platform's manifest too.
 * @param repository the name that the image is signed under
 * @throws TrustError where the statements can't be known
 */
export async function findStatementSigners(
  kinds: ReadonlyMap<StatementKind, SignedStatements>,
  trust: Trust,
  { repository, manifest, root }: { repository: Repository; manifest: Digest; root: Digest },
): Promise<readonly StatementSigners[]> {
  const found: StatementSigners[] = [];
  for (const [kind, statements] of kinds) {
    const said = new Map<Digest, StatementSigners["said"][number]>();
    const doubts = new Set<string>();
    for (const digest of new Set([root, manifest])) {
      const about = { repository, digest, predicateType: predicateTypes[kind] };
      for (const { file, person, fingerprint, statement, message } of await statements.read(about, trust)) {
        if (!subjectDigests(statement).includes(manifest)) continue;
        const own = trust.keyring.doubtsAbout(fingerprint);
        for (const doubt of own) doubts.add(doubt);
        if (own.length === 0) said.set(digestOf(message), { file, person, fingerprint });
      }
    }
    if (said.size === 0 && doubts.size > 0)
      throw new TrustError(`its ${kind} is signed with keys that may be revoked: ${[...doubts].join("; ")}`);
    found.push({ kind, said: [...said.values()] });
  }
  return found;
}

/** `provenance by alice, bob; sbom by nobody`. */
export function describeStatementSigners(statements: readonly StatementSigners[]): string {
  const people = ({ said }: StatementSigners) => [...new Set(said.map(({ person }) => person))].join(", ");
  return statements.map((one) => `${one.kind} by ${people(one) || "nobody"}`).join("; ");
}
