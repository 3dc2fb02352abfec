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

/** Who of the roster has signed a statement of one kind about an image; each file, also where one person has several. */
export type StatementSigners = {
  readonly kind: StatementKind;
  readonly said: readonly { readonly file: string; readonly person: string; readonly fingerprint: string }[];
};

/**
 * Reads the kinds of statements that a command line names: `provenance,sbom`.
 * @throws Error that quotes what was found and says what is allowed
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
 * The statements about an image that hold. One is filed under what the image's tags point at and under every platform's manifest; of one that was filed
 * otherwise the first may be all there is.
 * @param repository as it is signed
 * @throws TrustError where it can't be known
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
