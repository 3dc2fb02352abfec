import type { Digest } from "../../oci/digest.ts";
import type { Image } from "../../oci/image.ts";
import type { Work } from "../../providers/stagex/protocol/handler.ts";
import { parseTagged } from "../../trust/signatures/image-reference.ts";
import type { Workshop } from "../context/context.ts";
import { pulledImage } from "../package/pull-image.ts";
import type { PublicationInputs } from "./inputs.ts";

/** What the tags point at: the signed manifest, or the index over several. */
export function targetOf({ digest, index, digests = {} }: PublicationInputs): Digest {
  return index !== undefined && Object.keys(digests).length > 1 ? index : digest;
}

/**
 * Sees to it that the store has the image whole, every byte of it hashed; what it lacks comes from the configured registries.
 * @throws Error where it can't be had, or its index has other manifests than those that were signed
 */
export async function requireBytes(workshop: Workshop, inputs: PublicationInputs, work: Work): Promise<void> {
  const target = targetOf(inputs);
  const image = (await stored(workshop, target, work)) ?? (await pulled(workshop, inputs, target, work));
  if (target === inputs.digest) return;
  const signed = new Map(Object.entries(inputs.digests ?? {}));
  const strays = image.manifests.filter(({ platform, digest }) => signed.get(platform) !== digest);
  if (strays.length === 0 && image.manifests.length === signed.size) return;
  const found = image.manifests.map(({ platform, digest }) => `${platform} ${digest}`).join(", ");
  throw new Error(
    `${inputs.image}: the index ${target} is not one over the manifests that were signed: it has ${found}`,
  );
}

async function stored(workshop: Workshop, target: Digest, work: Work): Promise<Image | undefined> {
  const store = await workshop.store();
  work.progress("reading the image");
  const damages = await store.inspect(target, work.signal);
  for (const { message, putAside } of damages) if (putAside !== null) work.report("warning", message);
  if (damages.length > 0) return undefined;
  return (await store.find(target)) ?? (await store.image(target));
}

async function pulled(
  workshop: Workshop,
  inputs: PublicationInputs,
  digest: Digest,
  work: Work,
): Promise<Image> {
  const { image, reference } = inputs;
  const version = parseTagged(reference).split(":").at(-1) ?? "";
  const wanted = { image, version, digest, platform: await platformOf(workshop, inputs) };
  const reasons: string[] = [];
  const found = await pulledImage(workshop, wanted, ({ message }) => reasons.push(`\n  ${message}`), work);
  if (found) return found;
  throw new Error(
    `${image} is not published: the store does not have ${digest} whole${reasons.join("")}\n` +
      "Build it (the reproduce stack does), or say where it can be had: pulumi config set stagex:registry docker.io/stagex",
  );
}

async function platformOf(workshop: Workshop, { image, digests = {} }: PublicationInputs): Promise<string> {
  const [platform] = Object.keys(digests);
  return platform ?? (await workshop.tree()).images.get(image)?.platforms[0] ?? "";
}
