import type { Workshop } from "../workshop.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";
import { keyOf } from "./key.ts";

/** Remembers that an image was taken in at quorum, so that a run to which nothing is new need not read its signatures again. */
export async function rememberAgreed(
  { agreed }: Pick<Workshop, "agreed">,
  inputs: PackageInputs,
  { digests, index }: Pick<PackageOutputs, "digests" | "index">,
): Promise<void> {
  await agreed.record({
    inputKey: keyOf(inputs),
    image: inputs.image,
    digests: { index, platforms: digests },
    builder: { id: "quorum", facts: null },
    seconds: null,
    outcome: "built",
    finished: new Date().toISOString(),
  });
}

/**
 * Whether what the state has of an image may stay under `stagex:trust quorum`. It may have been taken in under another setting: only what was
 * built here stays, and what was at quorum when it was taken.
 */
export async function mayStay(
  { built, agreed }: Pick<Workshop, "built" | "agreed">,
  { image }: PackageInputs,
  { inputKey, digests }: PackageOutputs,
): Promise<boolean> {
  return (await built.says(image, inputKey, digests)) || (await agreed.says(image, inputKey, digests));
}
