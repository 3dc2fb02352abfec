import type { Digest } from "../../oci/digest.ts";
import {
  predicateTypes,
  type StatementKind,
  statementKinds,
} from "../../providers/stagex/statements/image-statement.ts";
import type { Repository } from "../../trust/image-reference.ts";
import type { Trust } from "../../trust/quorum.ts";
import { SignedStatements } from "../../trust/signed-statements.ts";

/** Who of the roster has signed a statement of one kind about an image. Of people who said it more than once each file is there. */
export type SaidOfImage = {
  readonly kind: StatementKind;
  readonly said: readonly { readonly file: string; readonly person: string; readonly fingerprint: string }[];
};

/**
 * Reads the kinds of statements that a command line names: `provenance,sbom`.
 * @throws Error that quotes what was found and says what is allowed
 */
export function parseKinds(text: string): readonly StatementKind[] {
  return [...new Set(text.split(","))].map((name) => {
    const kind = statementKinds.find((one) => one === name);
    if (kind !== undefined) return kind;
    throw new Error(
      `not a kind of statement: ${JSON.stringify(name.slice(0, 100))} (expected ${statementKinds.join(", or ")}, or both with a comma)`,
    );
  });
}

/**
 * The statements about an image that hold, in a lookaside. One is filed under what the image's tags point at, and names every platform's manifest.
 * @param address the lookaside's, folder or https
 * @param digests the manifest, and the index that it was found by
 * @throws TrustError where it can't be known
 */
export async function saidOf(
  kinds: readonly StatementKind[],
  { address, trust }: { readonly address: string; readonly trust: Trust },
  { repository, manifest, index }: { repository: Repository; manifest: Digest; index: Digest },
): Promise<readonly SaidOfImage[]> {
  const found: SaidOfImage[] = [];
  for (const kind of kinds) {
    const statements = new SignedStatements(address, kind);
    const said: SaidOfImage["said"][number][] = [];
    for (const digest of new Set([manifest, index])) {
      const about = { repository, digest, predicateType: predicateTypes[kind] };
      for (const { file, person, fingerprint, statement } of await statements.read(about, trust)) {
        const isAbout = statement.subject.some(({ digest: { sha256 } }) => `sha256:${sha256}` === manifest);
        if (isAbout) said.push({ file, person, fingerprint });
      }
    }
    found.push({ kind, said });
  }
  return found;
}

/** `provenance by alice and bob; sbom by nobody`. */
export function wordsOfStatements(statements: readonly SaidOfImage[]): string {
  const people = ({ said }: SaidOfImage) => [...new Set(said.map(({ person }) => person))].join(", ");
  return statements.map((one) => `${one.kind} by ${people(one) || "nobody"}`).join("; ");
}
