import { digestOf, hexOf } from "../../oci/digest.ts";
import { hasExactPlatforms } from "../../oci/image.ts";
import type { Context } from "../context/context.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";
import { inputKeyOf } from "./package-key.ts";
import { reasonBelowQuorum } from "./predict-outputs.ts";

/**
 * Remembers that an image was taken in at quorum, so that a run to which nothing is new need not read its signatures again. The record's
 * builder stands for those who judged it: the roster, the keys and the rule.
 */
export async function recordAtQuorum(
  context: Context,
  inputs: PackageInputs,
  { digests, index }: Pick<PackageOutputs, "digests" | "index">,
): Promise<void> {
  await context.quorumLedger.append({
    inputKey: inputKeyOf(inputs),
    image: inputs.image,
    digests: { index, platforms: digests },
    builder: { id: await judgesOf(context), facts: null },
    seconds: null,
    outcome: "built",
    finished: new Date().toISOString(),
  });
}

/**
 * Whether what the state has of an image may stay under `stagex:substituteTrust quorum`. It may have been taken in under another setting: only what was
 * built here stays, and what was at quorum when it was taken. Once a key is revoked, or the roster or the rule is another, the signatures are
 * judged again.
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
  const agreeing = records.filter(
    (record) =>
      record.image === image &&
      manifests.every(({ platform, digest }) => record.digests.platforms[platform] === digest),
  );
  if (agreeing.length === 0) return false;
  const judges = await judgesOf(context);
  if (agreeing.some(({ builder }) => builder.id === judges)) return true;
  if ((await reasonBelowQuorum(context, image, version, digests)) !== undefined) return false;
  await recordAtQuorum(context, inputs, { digests, index });
  return true;
}

/** Stands for who judges, and by which rule: another once a key is revoked or expires, or more people must agree. */
async function judgesOf(context: Context): Promise<string> {
  const { rosterDigest, rule } = await context.trust();
  const judges = [rosterDigest, rule.threshold, rule.vendors, context.config.signedAs];
  return hexOf(digestOf(JSON.stringify(judges)));
}
