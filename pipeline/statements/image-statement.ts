import { mediaTypes } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { type Referrer, referrerOf } from "../../oci/registry/referrer.ts";
import { createStatement, type Statement, serializeStatement } from "../../trust/statements/statement.ts";
import { type BuildEvidence, type BuiltRecord, fetchedFiles, type TreeCommit } from "./build-evidence.ts";
import { provenanceOf, provenancePredicateType, subjectsOf } from "./provenance.ts";
import { sbomOf, sbomPredicateType } from "./sbom.ts";

/**
 * Kinds of statements about an image: how it was built (SLSA provenance), and what it contains
 * (SPDX SBOM).
 */
export const statementKinds = ["provenance", "sbom"] as const;
export type StatementKind = (typeof statementKinds)[number];

/** Predicate type of each kind. */
export const predicateTypes: Readonly<Record<StatementKind, string>> = {
  provenance: provenancePredicateType,
  sbom: sbomPredicateType,
};

/** A statement about an image, ready to be signed and attached. */
export type ImageStatement = {
  readonly kind: StatementKind;
  readonly predicateType: string;
  /** The bytes to sign: an in-toto statement, which names the image's manifests. */
  readonly payload: Uint8Array;
  /** The document that tools read: the statement itself, or the SPDX document alone. */
  readonly document: { readonly mediaType: string; readonly bytes: Uint8Array };
};

/** The facts that a statement is made from. */
export type StatementSource = {
  readonly evidence: BuildEvidence;
  /** The name that the image is signed under, without its tag: `stagex/core-sh`. */
  readonly repository: string;
};

/** A signed statement: a binary opaque OpenPGP message, as image signatures are. */
const messageType = "application/vnd.stagex.openpgp-message";
const statementMediaType = "application/vnd.in-toto+json";

/** Makes the provenance of an image from one builder's record. */
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

/**
 * Makes the SBOM of an image. Tools read the SPDX document; signed is the statement that it is
 * about these manifests.
 */
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
 * Makes the artifact to attach to an image in a registry. Its first layer is the document that
 * tools read; the signed messages follow.
 * @param target the manifest or index that the image's tags point at, and its size in bytes
 */
export function statementReferrer(
  { evidence, target, size }: { evidence: BuildEvidence; target: Digest; size: number },
  { predicateType, document }: ImageStatement,
  messages: readonly Uint8Array[],
): Referrer {
  const isManifest = Object.values(evidence.digests.platforms).includes(target);
  const mediaType = isManifest ? mediaTypes.manifest : mediaTypes.index;
  const annotations = { "in-toto.io/predicate-type": predicateType };
  return referrerOf({
    subject: { mediaType, digest: target, size },
    artifactType: document.mediaType,
    layers: [
      { ...document, annotations },
      ...messages.map((bytes) => ({ mediaType: messageType, bytes, annotations })),
    ],
  });
}
