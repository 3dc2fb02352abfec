import type { Digest } from "../../../oci/digest.ts";
import type { Image } from "../../../oci/image.ts";
import { RegistryError } from "../../../oci/registry-error.ts";
import type { Work } from "../handler.ts";
import { pulledImage } from "../pulled-image.ts";
import type { Workshop } from "../workshop.ts";
import { rememberAgreed } from "./agreed.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";
import { keyOf } from "./key.ts";
import { digestsOf } from "./record.ts";
import { trustedDigests } from "./trusted.ts";

/**
 * The image as others built it, pulled by digest instead of built here (StageX: preseed); undefined where the user does not
 * want that, where no digest of it is trusted, or where no registry has it: then it is to be built, as the engine's
 * output says.
 */
export async function substituted(
  workshop: Workshop,
  inputs: PackageInputs,
  work: Work,
): Promise<PackageOutputs | undefined> {
  if (!(await workshop.mayBeSubstituted(inputs.image))) return undefined;
  const { digests, doubt } = await trustedDigests(workshop, inputs);
  if (doubt !== undefined) work.report("info", `${inputs.image} is built here: ${doubt}`);
  if (!digests) return undefined;
  const { reference } = digests;
  const image =
    (await stored(workshop, reference, work)) ?? (await pulled(workshop, inputs, reference, work));
  if (!image) return undefined;
  const outputs = digestsOf(image, inputs.platforms);
  if (workshop.config.trust === "quorum") await rememberAgreed(workshop, inputs, outputs);
  workshop.journal.note({ image: inputs.image, digest: outputs.digest, origin: "substituted" });
  return { ...outputs, inputKey: keyOf(inputs), origin: "substituted" };
}

async function stored(workshop: Workshop, reference: Digest, work: Work): Promise<Image | undefined> {
  const store = await workshop.store();
  if ((await store.inspect(reference, work.signal)).length > 0) return undefined;
  return (await store.find(reference)) ?? (await store.image(reference));
}

/** Asks one registry after the other. None that fails ends anything: what is built has the same bytes. */
async function pulled(
  workshop: Workshop,
  inputs: PackageInputs,
  digest: Digest,
  work: Work,
): Promise<Image | undefined> {
  const { image, version } = inputs;
  const wanted = { image, version, digest, platform: inputs.platforms[0] ?? "" };
  const refused = (error: Error): void => {
    const isAbsent = error instanceof RegistryError && error.problem === "absent";
    if (!isAbsent) work.report("warning", `not substituted: ${error.message}`);
  };
  const found = await pulledImage(workshop, wanted, refused, work);
  if (found) return found;
  const registries = await workshop.registries(work);
  const asked = registries.map(({ address }) => address).join(", ");
  work.report("info", `${image} is built here: ${digest} could not be had from ${asked}`);
  return undefined;
}
