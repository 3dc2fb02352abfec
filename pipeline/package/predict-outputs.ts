import type { Ledger } from "../../distro/ledger/ledger.ts";
import type { Context } from "../context/context.ts";
import type { KnownDigests, PredictedImage } from "../context/known-digests.ts";
import { isDigestMismatch } from "./check-expected-digest.ts";
import { isLikelyBuiltOnEach } from "./cross-build.ts";
import { type KeyedPackage, type PackageInputs, type PackageOutputs, withInputKey } from "./inputs.ts";
import { lookUpDigests } from "./ledger-lookup.ts";
import { findTrustedDigests, reasonBelowQuorum } from "./trusted-digests.ts";

/** The prediction of a package's outputs before anything is done. */
export type PredictedOutputs = {
  /** The certain outputs: all digests where the inputs are known to give them. */
  readonly outputs: Partial<PackageOutputs>;
  /**
   * True if no build is needed, as far as can be told without asking a registry or a builder.
   */
  readonly isAvailable: boolean;
};

/**
 * Predicts the outputs that a run would have, from the ledgers, the store and the published
 * digests.
 */
export async function predictOutputs(context: Context, inputs: PackageInputs): Promise<PredictedOutputs> {
  const keyed = withInputKey(inputs);
  const { outputs, isAvailable } = await predict(context, keyed);
  return { outputs, isAvailable: isAvailable && !(await isBuiltAnyway(context, keyed)) };
}

async function predict(context: Context, inputs: KeyedPackage): Promise<PredictedOutputs> {
  const { inputKey } = inputs;
  const mayBePulled = await context.mayBeSubstituted(inputs.image);
  const trusted = mayBePulled ? await findTrustedDigests(context, inputs) : {};
  if (trusted.digests) return { outputs: { ...trusted.digests, inputKey }, isAvailable: true };
  const known = await predictImage(context, context.trustedLedger, inputs);
  if (known) return { outputs: { ...known.digests, inputKey }, isAvailable: known.isStored };
  if (context.trustedLedger === context.ledger) return { outputs: { inputKey }, isAvailable: false };
  // Others' records serve as a prediction; a run builds the image, or pulls it for other reasons.
  const digests = (await predictImage(context, context.ledger, inputs))?.digests;
  if (!digests || (await isDigestMismatch(context, inputs, digests)))
    return { outputs: { inputKey }, isAvailable: false };
  return {
    outputs: { ...digests, inputKey },
    isAvailable: mayBePulled && (await isLikelySigned(context, inputs, digests)),
  };
}

/**
 * Tells whether a run builds an image that is known: one to rebuild, or one that not every target
 * of `reproduceOn` has built.
 */
async function isBuiltAnyway(
  context: Context,
  { image, inputKey, reproduceOn }: KeyedPackage,
): Promise<boolean> {
  if (await context.isRebuilt(image)) return true;
  return (
    reproduceOn !== undefined && !(await isLikelyBuiltOnEach(context.trustedLedger, inputKey, reproduceOn))
  );
}

/**
 * Tells whether enough maintainers have signed the digests that the ledger has of an image. A run
 * pulls it only if the tree publishes them too. Of several platforms that is unknown before the
 * run, as a dependency's index may not be here yet.
 */
async function isLikelySigned(
  context: Context,
  { image, version, platforms }: PackageInputs,
  { digests }: KnownDigests,
): Promise<boolean> {
  if (context.config.substituteTrust !== "quorum" || platforms.length > 1) return false;
  return (await reasonBelowQuorum(context, image, version, digests)) === undefined;
}

/**
 * Looks an image up in a ledger and in the store. Returns undefined where the ledger does not know
 * its key.
 */
async function predictImage(
  context: Context,
  ledger: Ledger,
  { inputKey, platforms }: KeyedPackage,
): Promise<PredictedImage | undefined> {
  const cache = await context.previewCache();
  const subject = ledger === context.built ? `built ${inputKey}` : inputKey;
  const cached = cache.get(subject);
  if (cached) return cached;
  const since = Date.now();
  const digests = await lookUpDigests(ledger, inputKey, platforms);
  if (!digests) return undefined;
  const store = await context.store();
  const image = await store.find(digests.digest, platforms);
  const predicted = { digests, isStored: image !== null };
  const stored = store.filesBehind(digests.digest, image);
  if (stored) cache.put(subject, predicted, [...ledger.recordPaths(inputKey), ...stored], since);
  return predicted;
}
