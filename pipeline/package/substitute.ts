import type { Digest } from "../../oci/digest.ts";
import { hasExactPlatforms, type Image } from "../../oci/image.ts";
import { RegistryError } from "../../oci/registry/registry-error.ts";
import type { Store } from "../../oci/store/store.ts";
import type { Context } from "../context/context.ts";
import type { Operation } from "../operation.ts";
import type { KeyedPackage, PackageInputs, PackageOutputs } from "./inputs.ts";
import { imageDigestsOf } from "./ledger-lookup.ts";
import { pullImage } from "./pull-image.ts";
import { recordAtQuorum } from "./quorum-records.ts";
import { findTrustedDigests } from "./trusted-digests.ts";

/**
 * Pulls an image by a trusted digest in place of building it (StageX: preseed).
 * @returns undefined where the user does not want that, no digest is trusted, or no registry has
 *   it. Then it is to be built, and the engine's output says why.
 */
export async function substituteImage(
  context: Context,
  inputs: KeyedPackage,
  operation: Operation,
): Promise<PackageOutputs | undefined> {
  if (!(await context.mayBeSubstituted(inputs.image))) return undefined;
  const { digests, doubt } = await findTrustedDigests(context, inputs);
  if (doubt !== undefined) operation.report("info", `${inputs.image} is built here: ${doubt}`);
  if (!digests) return undefined;
  const { reference } = digests;
  const image =
    (await findStored(await context.store(), inputs, reference, operation)) ??
    (await pullFromRegistries(context, inputs, reference, operation));
  if (!image) return undefined;
  // Trust in manifests is no trust in an index of others; for several platforms the index was
  // pulled.
  const other = image.manifests.find(({ platform, digest }) => digests.digests[platform] !== digest);
  if (other) {
    operation.report(
      "warning",
      `not substituted: ${reference} has ${other.digest} for ${other.platform}, and not the manifest that is trusted`,
    );
    return undefined;
  }
  const outputs = imageDigestsOf(image, inputs.platforms);
  if (context.config.substituteTrust === "quorum") await recordAtQuorum(context, inputs, outputs);
  context.runReport.note({ image: inputs.image, digest: outputs.digest, origin: "substituted" });
  return { ...outputs, inputKey: inputs.inputKey, origin: "substituted" };
}

/**
 * Finds the image whole in the store, for exactly the platforms of the inputs: an index may name
 * untrusted manifests of others.
 */
async function findStored(
  store: Store,
  { platforms }: PackageInputs,
  reference: Digest,
  { signal }: Operation,
): Promise<Image | undefined> {
  const index = platforms.length > 1 ? reference : (await store.find(reference, platforms))?.index;
  if (!index || (await store.inspect(index, signal)).length > 0) return undefined;
  const image = await store.readImage(index);
  return hasExactPlatforms(image, platforms) ? image : undefined;
}

/**
 * Asks one registry after the other. A registry that fails only leaves the image to be built, with
 * the same bytes.
 */
async function pullFromRegistries(
  context: Context,
  inputs: PackageInputs,
  digest: Digest,
  operation: Operation,
): Promise<Image | undefined> {
  const { image, version } = inputs;
  const wanted = { image, version, digest, platform: inputs.platforms[0] ?? "" };
  const onFailure = (error: Error): void => {
    const isAbsent = error instanceof RegistryError && error.problem === "absent";
    if (!isAbsent) operation.report("warning", `not substituted: ${error.message}`);
  };
  const found = await pullImage(context, wanted, onFailure, operation);
  if (found && hasExactPlatforms(found, inputs.platforms)) return found;
  if (found) {
    const others = found.manifests.map(({ platform }) => platform).join(", ");
    operation.report(
      "warning",
      `not substituted: ${digest} is for ${others}, and not only what was asked for`,
    );
    return undefined;
  }
  const registries = await context.registries(operation);
  const asked = registries.map(({ address }) => address).join(", ");
  operation.report("info", `${image} is built here: ${digest} could not be had from ${asked}`);
  return undefined;
}
