import type { Digest } from "../../oci/digest.ts";
import { hasExactPlatforms, type Image } from "../../oci/image.ts";
import { RegistryError } from "../../oci/registry/registry-error.ts";
import type { Context } from "../context/context.ts";
import type { Operation } from "../operation.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";
import { imageDigestsOf } from "./ledger-lookup.ts";
import { inputKeyOf } from "./package-key.ts";
import { findTrustedDigests } from "./predict-outputs.ts";
import { pullImage } from "./pull-image.ts";
import { recordAtQuorum } from "./quorum-records.ts";

/**
 * The image as others built it, pulled by digest instead of built here (StageX: preseed); undefined where the user does not
 * want that, where no digest of it is trusted, or where no registry has it: then it is to be built, as the engine's
 * output says.
 */
export async function substituteImage(
  context: Context,
  inputs: PackageInputs,
  operation: Operation,
): Promise<PackageOutputs | undefined> {
  if (!(await context.mayBeSubstituted(inputs.image))) return undefined;
  const { digests, doubt } = await findTrustedDigests(context, inputs);
  if (doubt !== undefined) operation.report("info", `${inputs.image} is built here: ${doubt}`);
  if (!digests) return undefined;
  const { reference } = digests;
  const image =
    (await stored(context, inputs, reference, operation)) ??
    (await pulled(context, inputs, reference, operation));
  if (!image) return undefined;
  // A word on manifests is none on an index that has others: with several platforms that is what was asked for.
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
  return { ...outputs, inputKey: inputKeyOf(inputs), origin: "substituted" };
}

/** For the platforms that were asked for alone: what else an index may name beside a manifest that is trusted is not. */
async function stored(
  context: Context,
  { platforms }: PackageInputs,
  reference: Digest,
  operation: Operation,
): Promise<Image | undefined> {
  const store = await context.store();
  const index = platforms.length > 1 ? reference : (await store.find(reference, platforms))?.index;
  if (!index || (await store.inspect(index, operation.signal)).length > 0) return undefined;
  const image = await store.readImage(index);
  return hasExactPlatforms(image, platforms) ? image : undefined;
}

/** Asks one registry after the other. None that fails ends anything: what is built has the same bytes. */
async function pulled(
  context: Context,
  inputs: PackageInputs,
  digest: Digest,
  operation: Operation,
): Promise<Image | undefined> {
  const { image, version } = inputs;
  const wanted = { image, version, digest, platform: inputs.platforms[0] ?? "" };
  const refused = (error: Error): void => {
    const isAbsent = error instanceof RegistryError && error.problem === "absent";
    if (!isAbsent) operation.report("warning", `not substituted: ${error.message}`);
  };
  const found = await pullImage(context, wanted, refused, operation);
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
