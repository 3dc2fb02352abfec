import { resolve } from "node:path";
import { type Digest, digestOf } from "../../oci/digest.ts";
import {
  parseRepository,
  parseTaggedReference,
  repositoryOf,
  repositoryPath,
} from "../../trust/signatures/image-reference.ts";
import type { Lookaside } from "../../trust/signatures/lookaside.ts";
import { LookasideFolder } from "../../trust/signatures/lookaside-folder.ts";
import { signatureFolder } from "../../trust/signatures/signature-file.ts";
import { SignedStatements, type StoredStatement } from "../../trust/statements/signed-statements.ts";
import { subjectDigests } from "../../trust/statements/statement.ts";
import { TrustError } from "../../trust/trust-error.ts";
import type { Context } from "../context/context.ts";
import { lookasideAddress } from "../context/open-trust.ts";
import { evaluateImageQuorum, isInDoubt } from "../quorum/evaluate-quorum.ts";
import { predicateTypes } from "../statements/image-statement.ts";
import type { PublicationInputs } from "./inputs.ts";

/** The bytes of a signature that counts, and the manifest that it is for. */
export type AcceptedBytes = { readonly manifest: Digest; readonly bytes: Uint8Array };

/**
 * Judges an image's signatures again, whatever was found before, and returns those that count.
 * @throws Error below quorum; TrustError where it is undecided
 */
export async function requireQuorum(
  context: Context,
  { image, reference, digest, digests }: PublicationInputs,
): Promise<readonly AcceptedBytes[]> {
  const trust = await context.trust();
  if (await trust.isOutdated()) {
    throw new Error(
      `${image} is not published: the roster or its keys changed since the run began; run the command again`,
    );
  }
  // The same bytes are judged and copied, though others may write to the lookaside meanwhile.
  const held = new CachedLookaside(await context.lookaside());
  const quorum = await evaluateImageQuorum({ reference, digest, digests }, held, trust, trust.rule);
  const { outputs } = quorum;
  if (!outputs.met) {
    const what = isInDoubt(quorum) ? "it can't be told to be at quorum" : "it is below quorum";
    throw new Error(`${image} is not published: ${what}, though it was at quorum before: ${outputs.words}`);
  }
  const repository = repositoryOf(parseTaggedReference(reference));
  const signatures: AcceptedBytes[] = [];
  for (const { manifest, file } of outputs.accepted) {
    const found = (await held.read(repository, manifest)).find((one) => one.file === file);
    if (found !== undefined && "bytes" in found) signatures.push({ manifest, bytes: found.bytes });
  }
  return signatures;
}

/**
 * Copies signatures to the folders where clients of each destination look for them, unless they are
 * there.
 * @returns for each signature its folder and, after #, its digest
 */
export async function copySignatures(
  context: Context,
  inputs: PublicationInputs,
  signatures: readonly AcceptedBytes[],
): Promise<string[]> {
  const lookaside = publicLookaside(context, inputs);
  if (lookaside === undefined) return [];
  const filed = new Set<string>();
  for (const repository of repositoriesOf(inputs)) {
    for (const { manifest, bytes } of signatures) {
      await lookaside.write(repository, manifest, bytes);
      filed.add(`${signatureFolder(repository, manifest)}#${digestOf(bytes)}`);
    }
  }
  return [...filed].sort();
}

/**
 * Returns the copied signatures that the lookaside has lost, as {@link copySignatures} names them.
 */
export async function findMissingCopies(
  context: Context,
  inputs: PublicationInputs,
  filed: readonly string[],
): Promise<string[]> {
  const lookaside = publicLookaside(context, inputs);
  if (lookaside === undefined) return [];
  const there = new Set<string>();
  for (const repository of repositoriesOf(inputs)) {
    for (const manifest of new Set([inputs.digest, ...Object.values(inputs.digests ?? {})])) {
      const files = await lookaside.read(repository, manifest).catch(ifNoFolder);
      for (const file of files)
        if ("bytes" in file) there.add(`${signatureFolder(repository, manifest)}#${digestOf(file.bytes)}`);
    }
  }
  return filed.filter((signature) => !there.has(signature));
}

/**
 * Copies the signed statements about an image by anyone in the roster, to the same place as {@link
 * copySignatures}.
 */
export async function copyStatements(
  context: Context,
  inputs: PublicationInputs,
  target: Digest,
): Promise<void> {
  const trust = await context.trust();
  const manifests = Object.values(inputs.digests ?? {});
  for (const { copies, about, missing } of await statementsOf(context, inputs, target)) {
    for (const { message, statement } of missing) {
      const named = subjectDigests(statement);
      const more = manifests.filter((manifest) => named.includes(manifest));
      await copies.write(about, message, trust, more);
    }
  }
}

/** Describes the signed statements about an image whose copies are missing. */
export async function findUncopiedStatements(
  context: Context,
  inputs: PublicationInputs,
  target: Digest,
): Promise<string[]> {
  const statements = await statementsOf(context, inputs, target);
  return statements.flatMap(({ kind, about: { repository }, missing }) =>
    missing.map(({ person }) => `${person}'s signed ${kind} of ${repository}`),
  );
}

/**
 * Finds for each published kind and each destination the valid statements, and which copies are
 * missing.
 */
async function statementsOf(context: Context, inputs: PublicationInputs, target: Digest) {
  const lookaside = publicLookaside(context, inputs);
  if (lookaside === undefined) return [];
  const trust = await context.trust();
  const own = lookasideAddress(context.config, context.paths);
  const signed = repositoryOf(parseTaggedReference(inputs.reference));
  const found = [];
  for (const kind of context.config.attach) {
    const about = { digest: target, predicateType: predicateTypes[kind] };
    const held = await new SignedStatements(own, kind).read({ ...about, repository: signed }, trust);
    const copies = new SignedStatements(lookaside.folder, kind);
    for (const repository of repositoriesOf(inputs)) {
      const there = held.length === 0 ? [] : await copies.read({ ...about, repository }, trust);
      const isThere = ({ message }: StoredStatement) =>
        there.some((copy) => Buffer.compare(copy.message, message) === 0);
      const missing = held.filter((one) => !isThere(one));
      found.push({ kind, copies, about: { ...about, repository }, missing });
    }
  }
  return found;
}

function publicLookaside(context: Context, { lookaside }: PublicationInputs): LookasideFolder | undefined {
  if (lookaside === undefined) return undefined;
  return new LookasideFolder(resolve(context.paths.project, lookaside));
}

/**
 * Returns one repository for each path: podman looks below the path that it pulls from, whatever
 * the host.
 */
function repositoriesOf({ image, destinations }: PublicationInputs) {
  const repositories = destinations.map((address) => parseRepository(`${address}/${image}`));
  return new Map(repositories.map((repository) => [repositoryPath(repository), repository])).values();
}

function ifNoFolder(error: unknown): readonly never[] {
  if (error instanceof TrustError) return [];
  throw error;
}

/** A lookaside that reads each image once. */
class CachedLookaside implements Lookaside {
  readonly #lookaside: Lookaside;
  readonly #read = new Map<string, ReturnType<Lookaside["read"]>>();

  constructor(lookaside: Lookaside) {
    this.#lookaside = lookaside;
  }

  read(...[repository, digest]: Parameters<Lookaside["read"]>): ReturnType<Lookaside["read"]> {
    const key = signatureFolder(repository, digest);
    const reading = this.#read.get(key) ?? this.#lookaside.read(repository, digest);
    this.#read.set(key, reading);
    return reading;
  }
}
