import { inputKeyOf } from "../../distro/plan/image-inputs.ts";
import { inputKeyOfPlan } from "../../distro/plan/predict-digests.ts";
import type { InputsStatus, InputsStatusQuery } from "../../distro/published/published-inputs.ts";
import { LayoutError } from "../../oci/layout-error.ts";
import type { Store } from "../../oci/store/store.ts";
import type { Context } from "../context/context.ts";
import { isFullyKnown } from "../unknown-schema.ts";
import type { PackageInputs, PackagePreview } from "./inputs.ts";

/** The answer whether an image must have its published digest, and the reason. */
export type DigestRequirement = { readonly mustMatch: boolean; readonly reason: string };

/**
 * Tells whether an image must have its published digest. It must in every mode of `stagex:verify`
 * if it has the inputs that the digest was published of. With `release` it also must where that is
 * undecided, and with `all` whatever its inputs are.
 */
export async function digestRequirementOf(
  context: Context,
  inputs: PackageInputs,
): Promise<DigestRequirement> {
  const { kind, reason } = await publishedStatusOf(context, inputs);
  return { mustMatch: context.config.verify ? kind !== "changed" : kind === "published", reason };
}

const hint =
  "If the change is meant: pulumi config set stagex:verify false, pulumi up, and then stagex digests --write";
const allMatchReason = `Every image is held; only those of published inputs with: pulumi config set stagex:verify release\n${hint}`;

/**
 * The comparison of an image's inputs with the published ones, and the reason to require its
 * published digest.
 */
export type ExplainedStatus = { readonly kind: InputsStatus; readonly reason: string };

/**
 * Compares the inputs of an image, or those known in a preview, with the published ones. Where that
 * is impossible `stagex:verify` decides; with `all` nothing is compared.
 */
export async function publishedStatusOf(
  context: Context,
  plan: PackagePreview | PackageInputs,
): Promise<ExplainedStatus> {
  const { verify } = context.config;
  if (verify === "all") return { kind: "published", reason: allMatchReason };
  const inDoubt: InputsStatus = verify === "release" ? "published" : "changed";
  const { dependencies, ...own } = plan;
  const inputs = { ...own, dependencies: {} };
  if (!isFullyKnown(inputs) || typeof dependencies !== "object")
    return { kind: "open", reason: "its inputs are not known yet" };
  const { image } = inputs as PackageInputs;
  const published = await context.publishedInputs().catch((error: unknown) => {
    // By default an image that can't be compared must match: in doubt nothing passes.
    return error instanceof Error ? { doubt: () => error.message } : Promise.reject(error);
  });
  const doubt = published.doubt(image);
  if (doubt !== undefined || !("statusOf" in published))
    return { kind: inDoubt, reason: doubtText(doubt ?? "") };
  const kind = await published.statusOf({
    image,
    hasSameInputsAs: (release) => inputKeyOfPlan(release, {}) === inputKeyOf(inputs as PackageInputs),
    dependencies: Object.fromEntries(
      Object.entries(dependencies).map(([name, digest]) => [
        name,
        typeof digest === "string" ? digest : undefined,
      ]),
    ),
    firstManifest: firstManifestFinder(() => context.store()),
  });
  // The comparison itself may have left it in doubt.
  const doubtAfter = published.doubt(image);
  if (doubtAfter !== undefined) return { kind: inDoubt, reason: doubtText(doubtAfter) };
  if (kind === "open")
    return { kind, reason: doubtText("an image that it is built from is not in the store") };
  const reason = `Its inputs are those that commit ${published.commit} published the digest of, or those of a commit that wrote its line: its build differs from run to run, or what built it is at fault`;
  return { kind, reason };
}

function doubtText(doubt: string): string {
  return `Whether its inputs are those that were published can't be told: ${doubt}\n${hint}`;
}

/** Returns a function that finds the first manifest of an index in a store. */
export function firstManifestFinder(open: () => Promise<Store>): InputsStatusQuery["firstManifest"] {
  return async (index) => {
    const store = await open();
    try {
      return (await store.readImage(index)).manifests[0]?.digest;
    } catch (error) {
      if (error instanceof LayoutError) return undefined;
      throw error;
    }
  };
}
