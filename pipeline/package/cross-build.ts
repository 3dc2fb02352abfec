import type { InputKey } from "../../distro/input-key.ts";
import type { Ledger } from "../../distro/ledger/ledger.ts";
import { runConcurrently } from "../../lib/run-concurrently.ts";
import type { Store } from "../../oci/store/store.ts";
import type { Context } from "../context/context.ts";
import type { Operation } from "../operation.ts";
import { buildImage } from "./build-image.ts";
import { findFirstDifference } from "./check-expected-digest.ts";
import type { KeyedPackage, PackageInputs, PackageOutputs } from "./inputs.ts";

/**
 * One image of the same inputs, and its origin: a CPU vendor, a builder, or the ledger or registry
 * that had it.
 */
type Outcome = { readonly from: string; readonly image: PackageOutputs };

/**
 * Builds an image once on each CPU vendor or builder that `reproduceOn` names and that has not
 * built it yet. Each build gets a record of its own builder.
 * @param known the image from the ledger or a registry
 * @throws Error where two outcomes differ, with the first file that does
 */
export async function buildOnEach(
  context: Context,
  inputs: KeyedPackage,
  targets: readonly string[],
  known: PackageOutputs | undefined,
  operation: Operation,
): Promise<PackageOutputs> {
  const missing = known ? await targetsWithoutBuild(context, inputs.inputKey, targets, operation) : targets;
  const built = await runConcurrently(
    missing,
    operation.signal,
    async (target, signal): Promise<Outcome> => ({
      from: target,
      image: await buildImage(context, inputs, { ...operation, signal }, target),
    }),
  );
  const [first, ...others] = [
    ...(known ? [{ from: `known (${known.origin})`, image: known }] : []),
    ...built,
  ];
  if (!first) throw new Error(`${inputs.image}: stagex:reproduceOn names nobody`);
  for (const other of others) await requireEqual(await context.store(), inputs, first, other);
  return first.image;
}

/**
 * Tells without asking a builder whether the ledger has a build by each target. A target is taken
 * for a CPU vendor. Else as many builders as targets are enough: the ledger knows builders by ID,
 * not by name.
 */
export async function isLikelyBuiltOnEach(
  ledger: Ledger,
  inputKey: InputKey,
  targets: readonly string[],
): Promise<boolean> {
  const { records } = await ledger.lookUp(inputKey);
  const built = records.filter(({ outcome }) => outcome === "built");
  const vendors = new Set(built.map(({ builder }) => builder.facts?.cpuVendor?.toLowerCase()));
  if (targets.every((target) => vendors.has(target.toLowerCase()))) return true;
  return new Set(built.flatMap(({ builder }) => builder.id ?? [])).size >= targets.length;
}

/** Returns the targets whose build the trusted ledger does not have. */
async function targetsWithoutBuild(
  { trustedLedger, fleet }: Context,
  inputKey: InputKey,
  targets: readonly string[],
  operation: Operation,
): Promise<string[]> {
  const { records } = await trustedLedger.lookUp(inputKey);
  const built = records.filter(({ outcome }) => outcome === "built");
  const hasBuilt = async (target: string): Promise<boolean> => {
    const isOfVendor = (vendor: string | undefined) => vendor?.toLowerCase() === target.toLowerCase();
    if (built.some(({ builder }) => isOfVendor(builder.facts?.cpuVendor))) return true;
    const ids = await fleet.findBuilderIds(target, operation);
    return built.some(({ builder }) => ids.includes(builder.id));
  };
  const missing: string[] = [];
  for (const target of targets) if (!(await hasBuilt(target))) missing.push(target);
  return missing;
}

async function requireEqual(
  store: Store,
  { image, platforms }: PackageInputs,
  first: Outcome,
  other: Outcome,
): Promise<void> {
  for (const platform of platforms) {
    const [a, b] = [first.image.digests[platform], other.image.digests[platform]];
    if (a === undefined || b === undefined || a === b) continue;
    throw new Error(
      [
        `${image}: not reproduced for ${platform}: the same inputs gave two images`,
        `  ${first.from}: ${a}`,
        `  ${other.from}: ${b}`,
        `  ${await findFirstDifference(store, a, b)}`,
        "Neither can be trusted, so nothing is built from it. What differs between the machines, or from run to run, is to be taken out of its recipe.",
      ].join("\n"),
    );
  }
}
