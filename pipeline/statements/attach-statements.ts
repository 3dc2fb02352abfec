import { stat } from "node:fs/promises";
import type { Digest } from "../../oci/digest.ts";
import type { Referrer } from "../../oci/registry/referrer.ts";
import { tryParseFingerprint } from "../../trust/openpgp/fingerprint.ts";
import { parseTaggedReference, repositoryOf } from "../../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../../trust/signatures/lookaside-folder.ts";
import { parseStatement, subjectDigests } from "../../trust/statements/statement.ts";
import { requireAttestableBuild } from "../attestation/attestable-build.ts";
import { NotBuiltHereError } from "../attestation/built-here.ts";
import type { Context } from "../context/context.ts";
import { openLedgers } from "../context/open-ledgers.ts";
import type { Operation } from "../operation.ts";
import {
  type BuildEvidence,
  findFolderCommit,
  gatherBuildEvidence,
  NoEvidenceError,
} from "./build-evidence.ts";
import {
  type ImageStatement,
  provenanceStatement,
  sbomStatement,
  statementReferrer,
} from "./image-statement.ts";
import { type StatementSigner, signStatement } from "./sign-statement.ts";

/** A published image. */
export type PublishedImage = {
  readonly image: string;
  /** The name that it is signed under, `stagex/core-sh:1.0`. */
  readonly reference: string;
  /** The manifest or index that its tags point at. The store has it. */
  readonly target: Digest;
};

/**
 * Makes the artifacts to attach to a published image: of the kinds in `stagex:attach`, those that
 * are known. Provenance is known of images that were built here; an SBOM is known of every image
 * whose digest the configured trust takes. Signed copies in the lookaside come along.
 *
 * If `stagex:signingKey` is a file, `stagex:attest` signs what was built here and lacks that
 * person's signature. Nobody vouches for what only somebody else's ledger has. A key on a card
 * would have to be touched twice for each image: `stagex provenance --sign` uses it.
 */
export async function statementReferrers(
  context: Context,
  published: PublishedImage,
  operation: Operation,
): Promise<readonly Referrer[]> {
  const kinds = context.config.attach;
  const evidence = kinds.length === 0 ? undefined : await evidenceOf(context, published.image);
  if (evidence === undefined) return [];
  const { target } = published;
  const { size } = await stat((await context.store()).blobPath(target));
  const referrers: Referrer[] = [];
  for (const statement of await statementsOf(context, published, evidence)) {
    if (!kinds.includes(statement.kind) || !isAbout(statement, target)) continue;
    const messages = await signedMessages(context, published, statement, evidence, operation);
    referrers.push(statementReferrer({ evidence, target, size }, statement, messages));
  }
  return referrers;
}

async function evidenceOf(context: Context, image: string): Promise<BuildEvidence | undefined> {
  try {
    const ledgers = openLedgers(context.config, context.paths);
    return await gatherBuildEvidence(await context.tree(), ledgers, image);
  } catch (error) {
    if (error instanceof NoEvidenceError) return undefined;
    throw error;
  }
}

async function statementsOf(
  context: Context,
  { reference }: PublishedImage,
  evidence: BuildEvidence,
): Promise<readonly ImageStatement[]> {
  const source = { evidence, repository: reference.slice(0, reference.lastIndexOf(":")) };
  const sbom = sbomStatement(source);
  const [record] = [...evidence.records].sort((a, b) => (a.finished < b.finished ? 1 : -1));
  if (record === undefined) return [sbom];
  const commit = await findFolderCommit((await context.tree()).root, evidence.plan.folder);
  return [provenanceStatement(source, record, commit), sbom];
}

/**
 * Returns false if the tree has changed since the image was built: then the evidence is of another
 * image.
 */
function isAbout({ payload }: ImageStatement, target: Digest): boolean {
  return subjectDigests(parseStatement(payload)).includes(target);
}

async function signedMessages(
  context: Context,
  { reference, target }: PublishedImage,
  statement: ImageStatement,
  evidence: BuildEvidence,
  operation: Operation,
): Promise<readonly Uint8Array[]> {
  const { attest, signingKey } = context.config;
  const lookaside = await context.lookaside();
  if (!(lookaside instanceof LookasideFolder)) return [];
  const isUnattended = signingKey !== undefined && tryParseFingerprint(signingKey) === undefined;
  const signer: StatementSigner | undefined =
    attest !== undefined && isUnattended
      ? {
          isOwn: ({ person }) => person === attest,
          sign: async (payload) =>
            (await mayBeAttested(context, evidence))
              ? await (await context.signer(attest)).sign(payload, operation)
              : undefined,
        }
      : undefined;
  const repository = repositoryOf(parseTaggedReference(reference));
  const place = { repository, target, lookaside: lookaside.folder, trust: await context.trust() };
  return (await signStatement(statement, place, signer)).messages;
}

/** Applies the rule for signatures of images: built here, with all that it is built from. */
async function mayBeAttested(context: Context, { plan, inputKey, digests }: BuildEvidence): Promise<boolean> {
  try {
    const { name: image } = plan;
    return (await requireAttestableBuild(context, { image, inputKey, digests: digests.platforms })).size > 0;
  } catch (error) {
    if (error instanceof NotBuiltHereError) return false;
    throw error;
  }
}
