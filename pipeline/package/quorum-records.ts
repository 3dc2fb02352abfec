import { digestOf, hexOf } from "../../oci/digest.ts";
import { hasExactPlatforms } from "../../oci/image.ts";
import type { Context } from "../context/context.ts";
import { type KeyedPackage, type PackageInputs, type PackageOutputs, withInputKey } from "./inputs.ts";
import { reasonBelowQuorum } from "./trusted-digests.ts";

/**
 * Records that an image was accepted at quorum, so that a run without changes need not read its
 * signatures again. The record's builder stands for the roster, the keys and the rule that it was
 * judged by.
 */
export async function recordAtQuorum(
  context: Context,
  { image, inputKey }: KeyedPackage,
  { digests, index }: Pick<PackageOutputs, "digests" | "index">,
): Promise<void> {
  await context.quorumLedger.append({
    inputKey,
    image,
    digests: { index, platforms: digests },
    builder: { id: await trustIdOf(context), facts: null },
    seconds: null,
    outcome: "built",
    finished: new Date().toISOString(),
  });
}

/**
 * Tells whether the image in the state may stay under `stagex:substituteTrust quorum`. Another setting may
 * have let it in: it stays only if it was built here or accepted at quorum. After a change of keys,
 * roster or rule its signatures are judged again.
 */
export async function mayKeepOutputs(
  context: Context,
  inputs: PackageInputs,
  { inputKey, digests, index }: PackageOutputs,
): Promise<boolean> {
  const { image, version, platforms } = inputs;
  const manifests = Object.entries(digests).map(([platform, digest]) => ({ platform, digest }));
  if (!hasExactPlatforms({ manifests }, platforms)) return false;
  if (await context.built.hasRecordOf(image, inputKey, digests)) return true;
  const { records } = await context.quorumLedger.lookUp(inputKey);
  const matching = records.filter(
    (record) =>
      record.image === image &&
      manifests.every(({ platform, digest }) => record.digests.platforms[platform] === digest),
  );
  if (matching.length === 0) return false;
  const trustId = await trustIdOf(context);
  if (matching.some(({ builder }) => builder.id === trustId)) return true;
  if ((await reasonBelowQuorum(context, image, version, digests)) !== undefined) return false;
  await recordAtQuorum(context, withInputKey(inputs), { digests, index });
  return true;
}

/**
 * Identifies roster, keys and rule. It changes once a key is revoked or expires, or more people
 * must sign.
 */
async function trustIdOf(context: Context): Promise<string> {
  const { rosterDigest, rule } = await context.trust();
  const judges = [rosterDigest, rule.threshold, rule.vendors, context.config.signedAs];
  return hexOf(digestOf(JSON.stringify(judges)));
}
