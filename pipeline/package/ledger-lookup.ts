import type { InputKey } from "../../distro/input-key.ts";
import type { Ledger } from "../../distro/ledger/ledger.ts";
import { hasExactPlatforms, type Image } from "../../oci/image.ts";
import type { Context } from "../context/context.ts";
import type { KnownDigests } from "../context/known-digests.ts";
import type { Operation } from "../operation.ts";
import type { KeyedPackage, PackageOutputs } from "./inputs.ts";

type Digests = Pick<PackageOutputs, "digest" | "digests" | "reference" | "index">;

/** Returns the image that the trusted ledger has of these inputs, if the store has it whole. */
export async function lookUpLedger(
  context: Context,
  { image: name, inputKey, platforms }: KeyedPackage,
  { signal }: Operation,
): Promise<PackageOutputs | undefined> {
  const digests = await lookUpDigests(context.trustedLedger, inputKey, platforms);
  if (!digests) return undefined;
  const store = await context.store();
  const index = digests.index ?? (await store.find(digests.digest, platforms))?.index;
  if (!index || (await store.audit(index, signal)).length > 0) return undefined;
  // Others may have written the record, with an index and digests of two images; the store's bytes
  // are verified.
  const image = await store.readImage(index);
  const isRecorded = image.manifests.every(({ platform, digest }) => digests.digests[platform] === digest);
  if (!isRecorded || !hasExactPlatforms(image, platforms)) return undefined;
  context.runReport.note({ image: name, digest: digests.digest, origin: "ledger" });
  return { ...digests, index, inputKey, origin: "ledger" };
}

/** Returns the digests of an image for these platforms. StageX publishes that of the first. */
export function imageDigestsOf(image: Image, platforms: readonly string[]): Digests {
  const digests = Object.fromEntries(image.manifests.map(({ platform, digest }) => [platform, digest]));
  const digest = digests[platforms[0] ?? ""];
  const missing = platforms.filter((platform) => !digests[platform]);
  if (!digest || missing.length > 0) throw new Error(`the image was not built for ${missing.join(", ")}`);
  return { digest, digests, index: image.index, reference: platforms.length > 1 ? image.index : digest };
}

/**
 * Returns the digests that a ledger has of a key, for these platforms alone, if it has all of them
 * and, of several, their index.
 */
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
