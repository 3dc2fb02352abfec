import type { InputKey } from "../../distro/input-key.ts";
import type { Ledger } from "../../distro/ledger/ledger.ts";
import { inputKeyOfPlan } from "../../distro/plan/predict-digests.ts";
import {
  firstPublishedDigest,
  publishedDigestIn,
  publishedDigestsOf,
} from "../../distro/published/published-digests.ts";
import type { Digest } from "../../oci/digest.ts";
import { describeVerdict, evaluateQuorum } from "../../trust/quorum/quorum.ts";
import {
  type PinnedImage,
  parseTaggedReference,
  repositoryOf,
} from "../../trust/signatures/image-reference.ts";
import { UnavailableError } from "../../trust/trust-error.ts";
import type { Context } from "../context/context.ts";
import type { KnownDigests, PredictedImage } from "../context/known-digests.ts";
import { isDigestMismatch } from "./check-expected-digest.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";
import { lookUpDigests } from "./ledger-lookup.ts";
import { inputKeyOf } from "./package-key.ts";

/** What is known before anything is done. */
export type PredictedOutputs = {
  /** What is certain of the outputs: all digests where they are known from the inputs. */
  readonly outputs: Partial<PackageOutputs>;
  /** Whether the image need not be built, as far as that can be told without asking a registry. */
  readonly isAvailable: boolean;
};

export async function predictOutputs(context: Context, inputs: PackageInputs): Promise<PredictedOutputs> {
  const mayBePulled = await context.mayBeSubstituted(inputs.image);
  const trusted = mayBePulled ? await findTrustedDigests(context, inputs) : {};
  const inputKey = inputKeyOf(inputs);
  if (trusted.digests) return { outputs: { ...trusted.digests, inputKey }, isAvailable: true };
  const foreseen = await foresee(context, context.trustedLedger, inputKey, inputs.platforms);
  if (foreseen) return { outputs: { ...foreseen.digests, inputKey }, isAvailable: foreseen.isStored };
  if (context.trustedLedger === context.ledger) return { outputs: { inputKey }, isAvailable: false };
  // What others say it gives is good enough to foretell, and built or pulled on other grounds.
  const said = (await foresee(context, context.ledger, inputKey, inputs.platforms))?.digests;
  if (!said || (await isDigestMismatch(context, inputs, said)))
    return { outputs: { inputKey }, isAvailable: false };
  return {
    outputs: { ...said, inputKey },
    isAvailable: mayBePulled && (await isLikelySigned(context, inputs, said)),
  };
}

/**
 * Whether enough maintainers have signed what the ledger says of an image. It is pulled only if the tree publishes that too, which can't
 * be told yet where something that it is built from, for several platforms, has no index here before the run.
 */
async function isLikelySigned(
  context: Context,
  { image, version, platforms }: PackageInputs,
  { digests }: KnownDigests,
): Promise<boolean> {
  if (context.config.trust !== "quorum" || platforms.length > 1) return false;
  return (await reasonBelowQuorum(context, image, version, digests)) === undefined;
}

/** What a ledger and the store say of a key; undefined where the ledger does not know it. */
async function foresee(
  context: Context,
  ledger: Ledger,
  key: InputKey,
  platforms: readonly string[],
): Promise<PredictedImage | undefined> {
  const recollection = await context.previewCache();
  const subject = ledger === context.built ? `built ${key}` : key;
  const recalled = recollection.get(subject);
  if (recalled) return recalled;
  const since = Date.now();
  const digests = await lookUpDigests(ledger, key, platforms);
  if (!digests) return undefined;
  const store = await context.store();
  const image = await store.find(digests.digest, platforms);
  const foreseen = { digests, isStored: image !== null };
  const stored = store.filesBehind(digests.digest, image);
  if (stored) recollection.put(subject, foreseen, [...ledger.recordPaths(key), ...stored], since);
  return foreseen;
}

/** Digests by which an image may be pulled, or why those that are known are not enough for it; neither where none are known. */
export type TrustedDigests = { readonly digests?: KnownDigests; readonly doubt?: string };

/**
 * The digests that these very inputs have, on the word that `stagex:trust` takes: the ledger's; or also that of the tree's published
 * digests; or, with `quorum`, that of this state folder's own builders, and of published digests that enough maintainers have signed. The
 * ledger has no say then, not even in which of the signed digests it is: a signature is for a version, of which there may be an older build.
 */
export async function findTrustedDigests(context: Context, inputs: PackageInputs): Promise<TrustedDigests> {
  const { trust } = context.config;
  const own = trust === "quorum" ? context.built : context.ledger;
  const recorded = await lookUpDigests(own, inputKeyOf(inputs), inputs.platforms);
  if (recorded) return { digests: recorded };
  if (trust === "ledger") return {};
  const published = await findPublishedDigests(context, inputs);
  if (!published || trust === "release") return published ? { digests: published } : {};
  const doubt = await reasonBelowQuorum(context, inputs.image, inputs.version, published.digests);
  return doubt === undefined ? { digests: published } : { doubt };
}

/** What is missing until enough people have signed every platform's manifest; undefined where nothing is. */
export async function reasonBelowQuorum(
  context: Context,
  image: string,
  version: string,
  digests: KnownDigests["digests"],
): Promise<string | undefined> {
  const trust = await context.trust();
  const reference = parseTaggedReference(`${context.config.signedAs}/${image}:${version}`);
  for (const digest of Object.values(digests)) {
    const signatures = await signaturesOf(context, { reference, digest });
    if (typeof signatures === "string") return signatures;
    const outcome = await evaluateQuorum({ reference, digest }, signatures, trust, trust.rule);
    if (!outcome.met)
      return `${reference}@${digest} is below quorum: ${describeVerdict(outcome, trust.rule)}`;
  }
  return undefined;
}

/** A lookaside that does not answer is no reason to fail: what is built has the same bytes. */
async function signaturesOf(context: Context, { reference, digest }: PinnedImage) {
  const lookaside = await context.lookaside();
  return await lookaside.read(repositoryOf(reference), digest).catch((error: unknown) => {
    if (error instanceof UnavailableError) return error.message;
    throw error;
  });
}

/**
 * What the tree publishes of these inputs: nothing where the image has changed since, or is built from anything else than
 * what is published; and nothing of an image for several platforms, but where each one's digest and the index's are.
 */
export async function findPublishedDigests(
  context: Context,
  inputs: PackageInputs,
): Promise<KnownDigests | undefined> {
  const release = await context.releaseTree();
  const plan = release?.images.get(inputs.image);
  if (!release || !plan) return undefined;
  const {
    platforms: digests,
    index,
    isWhole,
  } = publishedDigestsOf(release, {
    name: inputs.image,
    platforms: inputs.platforms,
  });
  const digest = digests[inputs.platforms[0] ?? ""];
  if (!digest) return undefined;
  if (inputKeyOfPlan(plan, inputs.dependencies) !== inputKeyOf(inputs)) return undefined;
  for (const [name, reference] of Object.entries(inputs.dependencies)) {
    if (publishedDigestIn(release, name, "index") === reference) continue;
    if (!(await isOf(context, firstPublishedDigest(release, name), reference))) return undefined;
  }
  if (!isWhole) return undefined;
  return { digest, digests, reference: index ?? digest, ...(index ? { index } : {}) };
}

/** Whether a dependency is the published one: its manifest, or the index in which that one comes first. */
async function isOf(context: Context, published: Digest | undefined, reference: Digest): Promise<boolean> {
  if (!published || published === reference) return published !== undefined;
  const image = await (await context.store()).find(published);
  return image?.index === reference && image.manifests[0]?.digest === published;
}
