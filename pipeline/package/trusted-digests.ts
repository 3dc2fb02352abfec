import { inputKeyOfPlan } from "../../distro/plan/predict-digests.ts";
import {
  firstPublishedDigest,
  publishedDigestIn,
  publishedDigestsOf,
} from "../../distro/published/published-digests.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Store } from "../../oci/store/store.ts";
import { describeVerdict, evaluateQuorum } from "../../trust/quorum/quorum.ts";
import {
  type PinnedImage,
  parseTaggedReference,
  repositoryOf,
} from "../../trust/signatures/image-reference.ts";
import type { Lookaside } from "../../trust/signatures/lookaside.ts";
import { UnavailableError } from "../../trust/trust-error.ts";
import type { Context } from "../context/context.ts";
import type { KnownDigests } from "../context/known-digests.ts";
import type { KeyedPackage } from "./inputs.ts";
import { lookUpDigests } from "./ledger-lookup.ts";

/**
 * Digests that an image may be pulled by, or why the known ones do not suffice; neither where none
 * are known.
 */
export type TrustedDigests = { readonly digests?: KnownDigests; readonly doubt?: string };

/**
 * Finds the digests of exactly these inputs that `stagex:substituteTrust` accepts. `ledger` takes the
 * ledger's; `release` also the tree's published digests. `quorum` takes those of local builds, and
 * published digests that enough maintainers have signed. The shared ledger is then not asked at
 * all: a signature is for a version, and the ledger could choose an older build of it.
 */
export async function findTrustedDigests(context: Context, inputs: KeyedPackage): Promise<TrustedDigests> {
  const { substituteTrust: trust } = context.config;
  const ledger = trust === "quorum" ? context.built : context.ledger;
  const recorded = await lookUpDigests(ledger, inputs.inputKey, inputs.platforms);
  if (recorded) return { digests: recorded };
  if (trust === "ledger") return {};
  const published = await findPublishedDigests(context, inputs);
  if (!published || trust === "release") return published ? { digests: published } : {};
  const doubt = await reasonBelowQuorum(context, inputs.image, inputs.version, published.digests);
  return doubt === undefined ? { digests: published } : { doubt };
}

/**
 * Describes what is missing until enough people have signed every platform's manifest; undefined at
 * quorum.
 */
export async function reasonBelowQuorum(
  context: Context,
  image: string,
  version: string,
  digests: KnownDigests["digests"],
): Promise<string | undefined> {
  const trust = await context.trust();
  const lookaside = await context.lookaside();
  const reference = parseTaggedReference(`${context.config.signedAs}/${image}:${version}`);
  for (const digest of Object.values(digests)) {
    const signatures = await readSignatures(lookaside, { reference, digest });
    if (typeof signatures === "string") return signatures;
    const outcome = await evaluateQuorum({ reference, digest }, signatures, trust, trust.rule);
    if (!outcome.met)
      return `${reference}@${digest} is below quorum: ${describeVerdict(outcome, trust.rule)}`;
  }
  return undefined;
}

/**
 * Returns the signatures, or why a lookaside does not answer. That is no failure: the image can be
 * built with the same bytes.
 */
async function readSignatures(lookaside: Lookaside, { reference, digest }: PinnedImage) {
  return await lookaside.read(repositoryOf(reference), digest).catch((error: unknown) => {
    if (error instanceof UnavailableError) return error.message;
    throw error;
  });
}

/**
 * Finds the digests that the tree publishes of exactly these inputs.
 * @returns undefined where the recipe or a dependency is not the published one, or a digest of a
 *   platform or of the index is missing
 */
export async function findPublishedDigests(
  context: Context,
  { image, inputKey, platforms, dependencies }: KeyedPackage,
): Promise<KnownDigests | undefined> {
  const release = await context.releaseTree();
  const plan = release?.images.get(image);
  if (!release || !plan) return undefined;
  const published = publishedDigestsOf(release, { name: image, platforms });
  const { platforms: digests, index } = published;
  const digest = digests[platforms[0] ?? ""];
  if (!digest) return undefined;
  if (inputKeyOfPlan(plan, dependencies) !== inputKey) return undefined;
  for (const [name, reference] of Object.entries(dependencies)) {
    if (publishedDigestIn(release, name, "index") === reference) continue;
    const manifest = firstPublishedDigest(release, name);
    if (!(await isReferenceTo(manifest, reference, await context.store()))) return undefined;
  }
  if (!published.isWhole) return undefined;
  return { digest, digests, reference: index ?? digest, ...(index ? { index } : {}) };
}

/**
 * Tells whether a reference is a published manifest, or an index in which that manifest comes
 * first.
 */
async function isReferenceTo(
  manifest: Digest | undefined,
  reference: Digest,
  store: Store,
): Promise<boolean> {
  if (!manifest || manifest === reference) return manifest !== undefined;
  const image = await store.find(manifest);
  return image?.index === reference && image.manifests[0]?.digest === manifest;
}
