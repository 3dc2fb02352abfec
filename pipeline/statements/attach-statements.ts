import { stat } from "node:fs/promises";
import { mediaTypes } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Referrer } from "../../oci/registry/referrer.ts";
import { tryParseFingerprint } from "../../trust/openpgp/fingerprint.ts";
import {
  parseRepository,
  parseTaggedReference,
  repositoryOf,
} from "../../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../../trust/signatures/lookaside.ts";
import { SignedStatements } from "../../trust/statements/signed-statements.ts";
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

/** A published image that something is to be said of. */
export type PublishedImage = {
  readonly image: string;
  /** `stagex/core-sh:1.0`, as it is signed. */
  readonly reference: string;
  /** What its tags point at; the store has it. */
  readonly target: Digest;
};

/**
 * What is to lie beside an image: of the kinds that `stagex:attach` names, those that are known. How an image was built is known of what
 * was built here; what it is made of, of every image that is known on the word that `stagex:substituteTrust` takes. Signed statements of the lookaside come along, and where
 * `stagex:signingKey` is a file, `stagex:attest` signs what that person has not signed yet of what was built here: nobody is made to vouch
 * for what only somebody else's ledger says. A key on a card is not asked: it would want to be touched twice for each image
 * (`stagex provenance --sign` asks it).
 */
export async function statementReferrers(
  context: Context,
  published: PublishedImage,
  operation: Operation,
): Promise<readonly Referrer[]> {
  const kinds = context.config.attach;
  const evidence = kinds.length === 0 ? undefined : await evidenceOf(context, published.image);
  if (evidence === undefined) return [];
  const isIndex = Object.values(evidence.digests.platforms).every((digest) => digest !== published.target);
  const { size } = await stat((await context.store()).blobPath(published.target));
  const mediaType = isIndex ? mediaTypes.index : mediaTypes.manifest;
  const subject = { mediaType, digest: published.target, size };
  const referrers: Referrer[] = [];
  for (const statement of await statementsOf(context, published, evidence)) {
    if (!kinds.includes(statement.kind) || !isAbout(statement, published.target)) continue;
    const messages = await messagesOf(context, published, statement, evidence, operation);
    referrers.push(statementReferrer(subject, statement, messages));
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

/** The tree may have moved on since the image was built: then what is known is of another image. */
function isAbout({ payload: signed }: ImageStatement, target: Digest): boolean {
  return subjectDigests(parseStatement(signed)).includes(target);
}

async function messagesOf(
  context: Context,
  { reference, target }: PublishedImage,
  { kind, predicateType, payload: signed }: ImageStatement,
  evidence: BuildEvidence,
  operation: Operation,
): Promise<readonly Uint8Array[]> {
  const { attest, signingKey } = context.config;
  const lookaside = await context.lookaside();
  if (!(lookaside instanceof LookasideFolder)) return [];
  const trust = await context.trust();
  const statements = new SignedStatements(lookaside.folder, kind);
  const about = {
    repository: parseRepository(repositoryOf(parseTaggedReference(reference))),
    digest: target,
    predicateType,
  };
  const held = await statements.readMatching(about, signed, trust);
  const messages = held.map(({ message }) => message);
  const isUnattended = signingKey !== undefined && tryParseFingerprint(signingKey) === undefined;
  if (attest === undefined || !isUnattended || held.some(({ person }) => person === attest)) return messages;
  if (!(await mayBeAttested(context, evidence))) return messages;
  const message = await (await context.signer(attest)).sign(signed, operation);
  await statements.write(about, message, trust, subjectDigests(parseStatement(signed)));
  return [...messages, message];
}

/** Whether it was built here, and on nothing that stands on another's word: as for an image's signature. */
async function mayBeAttested(context: Context, { plan, inputKey, digests }: BuildEvidence): Promise<boolean> {
  try {
    const { name: image } = plan;
    return (await requireAttestableBuild(context, { image, inputKey, digests: digests.platforms })).size > 0;
  } catch (error) {
    if (error instanceof NotBuiltHereError) return false;
    throw error;
  }
}
