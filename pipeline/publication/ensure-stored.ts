import type { Digest } from "../../oci/digest.ts";
import type { Image } from "../../oci/image.ts";
import { parseTaggedReference } from "../../trust/signatures/image-reference.ts";
import type { Context } from "../context/context.ts";
import type { Operation } from "../operation.ts";
import { pullImage } from "../package/pull-image.ts";
import type { PublicationInputs } from "./inputs.ts";

/** Returns the digest that the tags point at: the signed manifest, or the index of several. */
export function tagTargetOf({ digest, index, digests = {} }: PublicationInputs): Digest {
  return index !== undefined && Object.keys(digests).length > 1 ? index : digest;
}

/**
 * Ensures that the store has the whole image, every byte hashed. A missing or damaged one is pulled
 * from the configured registries.
 * @throws Error where no registry has it, or its index has other manifests than those that were
 *   signed
 */
export async function ensureStored(
  context: Context,
  inputs: PublicationInputs,
  operation: Operation,
): Promise<void> {
  const target = tagTargetOf(inputs);
  const image =
    (await stored(context, target, operation)) ?? (await pulled(context, inputs, target, operation));
  if (target === inputs.digest) return;
  const signed = new Map(Object.entries(inputs.digests ?? {}));
  const strays = image.manifests.filter(({ platform, digest }) => signed.get(platform) !== digest);
  if (strays.length === 0 && image.manifests.length === signed.size) return;
  const found = image.manifests.map(({ platform, digest }) => `${platform} ${digest}`).join(", ");
  throw new Error(
    `${inputs.image}: the index ${target} is not one over the manifests that were signed: it has ${found}`,
  );
}

async function stored(context: Context, target: Digest, operation: Operation): Promise<Image | undefined> {
  const store = await context.store();
  operation.progress("reading the image");
  const damages = await store.inspect(target, operation.signal);
  for (const { message, putAside } of damages) if (putAside !== null) operation.report("warning", message);
  if (damages.length > 0) return undefined;
  return (await store.find(target)) ?? (await store.readImage(target));
}

async function pulled(
  context: Context,
  inputs: PublicationInputs,
  digest: Digest,
  operation: Operation,
): Promise<Image> {
  const { image, reference } = inputs;
  const version = parseTaggedReference(reference).split(":").at(-1) ?? "";
  const wanted = { image, version, digest, platform: await platformOf(context, inputs) };
  const reasons: string[] = [];
  const found = await pullImage(context, wanted, ({ message }) => reasons.push(`\n  ${message}`), operation);
  if (found) return found;
  throw new Error(
    `${image} is not published: the store does not have ${digest} whole${reasons.join("")}\n` +
      "Build it (the reproduce stack does), or say where it can be had: pulumi config set stagex:substituteFrom docker.io/stagex",
  );
}

async function platformOf(context: Context, { image, digests = {} }: PublicationInputs): Promise<string> {
  const [platform] = Object.keys(digests);
  return platform ?? (await context.tree()).images.get(image)?.platforms[0] ?? "";
}
