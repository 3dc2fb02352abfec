import { inputKeyOf } from "../../distro/plan/image-inputs.ts";
import type { Context } from "../context/context.ts";
import type { KnownDigests } from "../context/known-digests.ts";
import type { Operation } from "../operation.ts";
import { findFirstDifference } from "./check-expected-digest.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";
import { lookUpDigests } from "./ledger-lookup.ts";

/**
 * Builds an image anew (`stagex:rebuild`), and compares it with what the ledger has of the same inputs.
 * @param make builds it
 * @throws where it comes out otherwise, with both digests
 */
export async function rebuildImage(
  context: Context,
  inputs: PackageInputs,
  make: () => Promise<PackageOutputs>,
  { report }: Pick<Operation, "report">,
): Promise<PackageOutputs> {
  const known = await knownBefore(context, inputs);
  const image = await make();
  if (known === undefined) {
    report("info", `${inputs.image}: rebuilt, and the ledger has nothing of these inputs to compare it with`);
    return image;
  }
  const platform = differingPlatform(known, image);
  if (platform === undefined) {
    report("info", `${inputs.image}: rebuilt without cache, equal to what the ledger has: ${image.digest}`);
    return image;
  }
  const [before, now] = [known.digests[platform], image.digests[platform]];
  throw new Error(
    [
      `${inputs.image}: not reproducible for ${platform}: the same inputs gave another image`,
      `  before:  ${before}`,
      `  rebuilt: ${now}`,
      ...(before && now ? [`  ${await findFirstDifference(context, before, now)}`] : []),
      "The ledger keeps both, and believes the earlier. What differs from run to run is to be taken out of its recipe; or one of the builders is at fault.",
    ].join("\n"),
  );
}

/** Whether a rebuilt image is what the ledger has of the same inputs, as far as it has anything; an image that is no such is. */
export async function isAsRecorded(
  context: Context,
  inputs: PackageInputs,
  image: Pick<PackageOutputs, "digests">,
): Promise<boolean> {
  if (!(await context.isRebuilt(inputs.image))) return true;
  const known = await knownBefore(context, inputs);
  return known === undefined || differingPlatform(known, image) === undefined;
}

async function knownBefore(context: Context, inputs: PackageInputs): Promise<KnownDigests | undefined> {
  return await lookUpDigests(context.trustedLedger, inputKeyOf(inputs), inputs.platforms);
}

function differingPlatform(
  known: KnownDigests,
  { digests }: Pick<PackageOutputs, "digests">,
): string | undefined {
  return Object.keys(known.digests).find((platform) => known.digests[platform] !== digests[platform]);
}
