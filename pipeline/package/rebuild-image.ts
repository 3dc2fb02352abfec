import type { Context } from "../context/context.ts";
import type { KnownDigests } from "../context/known-digests.ts";
import type { Operation } from "../operation.ts";
import { findFirstDifference } from "./check-expected-digest.ts";
import type { KeyedPackage, PackageOutputs } from "./inputs.ts";
import { lookUpDigests } from "./ledger-lookup.ts";

/**
 * Builds an image again (`stagex:rebuild`) and compares it with the ledger's image of the same
 * inputs.
 * @throws Error where they differ, with both digests
 */
export async function rebuildImage(
  context: Context,
  inputs: KeyedPackage,
  build: () => Promise<PackageOutputs>,
  { report }: Pick<Operation, "report">,
): Promise<PackageOutputs> {
  const recorded = await recordedDigests(context, inputs);
  const image = await build();
  if (recorded === undefined) {
    report("info", `${inputs.image}: rebuilt, and the ledger has nothing of these inputs to compare it with`);
    return image;
  }
  const platform = differingPlatform(recorded, image);
  if (platform === undefined) {
    report("info", `${inputs.image}: rebuilt without cache, equal to what the ledger has: ${image.digest}`);
    return image;
  }
  const [before, now] = [recorded.digests[platform], image.digests[platform]];
  throw new Error(
    [
      `${inputs.image}: not reproducible for ${platform}: the same inputs gave another image`,
      `  before:  ${before}`,
      `  rebuilt: ${now}`,
      ...(before && now ? [`  ${await findFirstDifference(await context.store(), before, now)}`] : []),
      "The ledger keeps both, and believes the earlier. What differs from run to run is to be taken out of its recipe; or one of the builders is at fault.",
    ].join("\n"),
  );
}

/**
 * Tells whether a rebuilt image equals the ledger's of the same inputs. True where there is none,
 * or the image is not rebuilt.
 */
export async function isAsRecorded(
  context: Context,
  inputs: KeyedPackage,
  image: Pick<PackageOutputs, "digests">,
): Promise<boolean> {
  if (!(await context.isRebuilt(inputs.image))) return true;
  const recorded = await recordedDigests(context, inputs);
  return recorded === undefined || differingPlatform(recorded, image) === undefined;
}

async function recordedDigests(
  { trustedLedger }: Context,
  { inputKey, platforms }: KeyedPackage,
): Promise<KnownDigests | undefined> {
  return await lookUpDigests(trustedLedger, inputKey, platforms);
}

function differingPlatform(
  recorded: KnownDigests,
  { digests }: Pick<PackageOutputs, "digests">,
): string | undefined {
  return Object.keys(recorded.digests).find((platform) => recorded.digests[platform] !== digests[platform]);
}
