import type { Descriptor } from "../../oci/descriptor.ts";
import { type Referrer, referrerOf } from "../../oci/registry/referrer.ts";
import { provenanceOf, provenancePredicateType, subjectsOf } from "../../trust/statements/provenance.ts";
import { createStatement, type Statement, serializeStatement } from "../../trust/statements/statement.ts";
import { type BuildEvidence, type BuiltRecord, fetchedFiles, type TreeCommit } from "./build-evidence.ts";
import { sbomOf, sbomPredicateType } from "./sbom.ts";

/** What is said of an image besides its signatures: how it was built, and what it is made of. */
export const statementKinds = ["provenance", "sbom"] as const;
export type StatementKind = (typeof statementKinds)[number];

/** The type of the predicate that each kind has. */
export const predicateTypes: Readonly<Record<StatementKind, string>> = {
  provenance: provenancePredicateType,
  sbom: sbomPredicateType,
};

/** A statement about an image, ready to be signed and to be laid beside it. */
export type ImageStatement = {
  readonly kind: StatementKind;
  readonly predicateType: string;
  /** What is signed: always an in-toto statement, which names the image's manifests. */
  readonly payload: Uint8Array;
  /** What tools read: the statement itself, or the SPDX document alone. */
  readonly document: { readonly mediaType: string; readonly bytes: Uint8Array };
};

/** What a statement is made from. */
export type StatementSource = {
  readonly evidence: BuildEvidence;
  /** How the image is signed, without its tag: `stagex/core-sh`. */
  readonly repository: string;
};

/** Around a signed statement: a binary opaque OpenPGP message, as around an image's signature. */
const messageType = "application/vnd.stagex.openpgp-message";
const statementMediaType = "application/vnd.in-toto+json";

/** How an image was built, by one builder's record. */
export function provenanceStatement(
  { evidence, repository }: StatementSource,
  record: BuiltRecord,
  tree: TreeCommit | null,
): ImageStatement {
  const { plan, inputKey, dependencies, digests } = evidence;
  const { builder, finished, seconds } = record;
  const named = record.fetches;
  const build = {
    ...{ plan, repository, inputKey, dependencies, digests, tree, builder, finished, seconds },
    ...(named === undefined
      ? {}
      : { fetched: { record: named, files: fetchedFiles(evidence.fetches.get(named) ?? []) } }),
  };
  const bytes = serializeStatement(provenanceOf(build));
  return {
    kind: "provenance",
    predicateType: provenancePredicateType,
    payload: bytes,
    document: { mediaType: statementMediaType, bytes },
  };
}

/** What an image is made of. Tools read the SPDX document; what is signed is the statement that it is about these manifests. */
export function sbomStatement({ evidence, repository }: StatementSource): ImageStatement {
  const sbom = sbomOf(evidence);
  const { plan, digests } = evidence;
  const statement: Statement = createStatement(
    subjectsOf({ plan, repository, digests }),
    sbomPredicateType,
    sbom,
  );
  return {
    kind: "sbom",
    predicateType: sbomPredicateType,
    payload: serializeStatement(statement),
    document: { mediaType: "application/spdx+json", bytes: Buffer.from(JSON.stringify(sbom)) },
  };
}

/**
 * The artifact that lies beside an image in a registry: first what tools read, then the signed messages, if any.
 * @param subject what the image's tags point at
 */
export function statementReferrer(
  subject: Descriptor,
  { predicateType, document: plain }: ImageStatement,
  messages: readonly Uint8Array[],
): Referrer {
  const annotations = { "in-toto.io/predicate-type": predicateType };
  return referrerOf({
    subject,
    artifactType: plain.mediaType,
    layers: [
      { ...plain, annotations },
      ...messages.map((bytes) => ({ mediaType: messageType, bytes, annotations })),
    ],
  });
}
