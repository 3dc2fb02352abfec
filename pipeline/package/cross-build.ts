import { inputKeyOf } from "../../distro/plan/image-inputs.ts";
import { runConcurrently } from "../../lib/run-concurrently.ts";
import type { Context } from "../context/context.ts";
import type { Operation } from "../operation.ts";
import { buildImage } from "./build-image.ts";
import { findFirstDifference } from "./check-expected-digest.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";

/** One outcome of the same inputs: on which vendor's machine or which builder, or from where it was known. */
type Outcome = { readonly from: string; readonly image: PackageOutputs };

/**
 * The image, built once on each vendor or builder that `reproduceOn` names, but for those whose outcome the ledger has. Each build is
 * a record of its own builder.
 * @param known the image as it is known already, from the ledger or a registry
 * @throws where two outcomes differ, naming the first file that does
 */
export async function buildOnEach(
  context: Context,
  inputs: PackageInputs,
  targets: readonly string[],
  known: PackageOutputs | undefined,
  operation: Operation,
): Promise<PackageOutputs> {
  const missing = known ? await withoutWitness(context, inputs, targets, operation) : targets;
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
  for (const other of others) await requireEqual(context, inputs, first, other);
  return first.image;
}

/**
 * Tells without asking a builder whether a run builds nothing on the targets: by CPU vendor, or by as many builders as there are targets,
 * since the ledger knows builders by their IDs and not by their names.
 */
export async function isLikelyBuiltOnEach(
  context: Context,
  inputs: PackageInputs,
  targets: readonly string[],
): Promise<boolean> {
  const { records } = await context.trustedLedger.lookUp(inputKeyOf(inputs));
  const built = records.filter(({ outcome }) => outcome === "built");
  const vendors = new Set(built.map(({ builder }) => builder.facts?.cpuVendor?.toLowerCase()));
  if (targets.every((target) => vendors.has(target.toLowerCase()))) return true;
  return new Set(built.flatMap(({ builder }) => builder.id ?? [])).size >= targets.length;
}

/** The targets for which no word in a ledger that is believed stands yet. */
async function withoutWitness(
  context: Context,
  inputs: PackageInputs,
  targets: readonly string[],
  operation: Operation,
): Promise<string[]> {
  const { records } = await context.trustedLedger.lookUp(inputKeyOf(inputs));
  const built = records.filter(({ outcome }) => outcome === "built");
  const isWitnessed = async (target: string): Promise<boolean> => {
    const isOfVendor = (vendor: string | undefined) => vendor?.toLowerCase() === target.toLowerCase();
    if (built.some(({ builder }) => isOfVendor(builder.facts?.cpuVendor))) return true;
    const ids = await context.fleet.findBuilderIds(target, operation);
    return built.some(({ builder }) => ids.includes(builder.id));
  };
  const missing: string[] = [];
  for (const target of targets) if (!(await isWitnessed(target))) missing.push(target);
  return missing;
}

async function requireEqual(
  context: Context,
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
        `  ${await findFirstDifference(context, a, b)}`,
        "Neither can be trusted, so nothing is built from it. What differs between the machines, or from run to run, is to be taken out of its recipe.",
      ].join("\n"),
    );
  }
}
