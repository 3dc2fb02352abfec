import type { InputKey } from "../../distro/input-key.ts";
import type { Ledger } from "../../distro/ledger/ledger.ts";
import { inputKeyOf } from "../../distro/plan/image-inputs.ts";
import { hasExactPlatforms, type Image } from "../../oci/image.ts";
import type { Context } from "../context/context.ts";
import type { KnownDigests } from "../context/known-digests.ts";
import type { Operation } from "../operation.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";

type Digests = Pick<PackageOutputs, "digest" | "digests" | "reference" | "index">;

/** The image that these inputs are known to give, by a ledger that is believed, if the store has it whole. */
export async function lookUpLedger(
  context: Context,
  inputs: PackageInputs,
  operation: Operation,
): Promise<PackageOutputs | undefined> {
  const key = inputKeyOf(inputs);
  const digests = await lookUpDigests(context.trustedLedger, key, inputs.platforms);
  if (!digests) return undefined;
  const store = await context.store();
  const index = digests.index ?? (await store.find(digests.digest, inputs.platforms))?.index;
  if (!index || (await store.audit(index, operation.signal)).length > 0) return undefined;
  // A record's index and digests may be of two images: the ledger is others' word, the store's bytes are not.
  const image = await store.readImage(index);
  const isSo = image.manifests.every(({ platform, digest }) => digests.digests[platform] === digest);
  if (!isSo || !hasExactPlatforms(image, inputs.platforms)) return undefined;
  context.runReport.note({ image: inputs.image, digest: digests.digest, origin: "ledger" });
  return { ...digests, index, inputKey: key, origin: "ledger" };
}

/** The digests of an image for the platforms that were asked for, the first of which StageX publishes. */
export function imageDigestsOf(image: Image, platforms: readonly string[]): Digests {
  const digests = Object.fromEntries(image.manifests.map(({ platform, digest }) => [platform, digest]));
  const digest = digests[platforms[0] ?? ""];
  const missing = platforms.filter((platform) => !digests[platform]);
  if (!digest || missing.length > 0) throw new Error(`the image was not built for ${missing.join(", ")}`);
  return { digest, digests, index: image.index, reference: platforms.length > 1 ? image.index : digest };
}

/** What a ledger says of a key, if it knows every platform and, where there are several, their index; of no platform else. */
export async function lookUpDigests(
  ledger: Ledger,
  key: InputKey,
  platforms: readonly string[],
): Promise<KnownDigests | undefined> {
  const { digests } = await ledger.lookUp(key);
  const digest = digests?.platforms[platforms[0] ?? ""];
  if (!digests || !digest) return undefined;
  const asked = Object.fromEntries(
    Object.entries(digests.platforms).filter(([platform]) => platforms.includes(platform)),
  );
  if (platforms.some((platform) => !asked[platform])) return undefined;
  const reference = platforms.length > 1 ? digests.index : digest;
  if (!reference) return undefined;
  return {
    digest,
    digests: asked,
    reference,
    ...(digests.index ? { index: digests.index } : {}),
  };
}
