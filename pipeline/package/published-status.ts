import { inputKeyOf } from "../../distro/plan/image-inputs.ts";
import { inputKeyOfPlan } from "../../distro/plan/predict-digests.ts";
import type { InputsStatus, InputsStatusQuery } from "../../distro/published/published-inputs.ts";
import { LayoutError } from "../../oci/layout-error.ts";
import type { Store } from "../../oci/store/store.ts";
import type { Context } from "../context/context.ts";
import { isFullyKnown } from "../unknown-schema.ts";
import type { PackageInputs, PackagePreview } from "./inputs.ts";

/** Whether an image is held against its published digest, and why. */
export type DigestRequirement = { readonly mustMatch: boolean; readonly reason: string };

/**
 * Tells whether another digest than the published one fails an image. In every mode of `stagex:verify` it does if the image has the
 * inputs that the digest was published of; with `release` also where that can't be told, and with `all` whatever its inputs are.
 */
export async function digestRequirementOf(
  context: Context,
  inputs: PackageInputs,
): Promise<DigestRequirement> {
  const { kind, reason } = await publishedStatusOf(context, inputs);
  return { mustMatch: context.config.verify ? kind !== "changed" : kind === "published", reason };
}

const mend =
  "If the change is meant: pulumi config set stagex:verify false, pulumi up, and then stagex digests --write";
const heldAll = `Every image is held; only those of published inputs with: pulumi config set stagex:verify release\n${mend}`;

/** An image's standing, and why it is held for it. */
export type ExplainedStatus = { readonly kind: InputsStatus; readonly reason: string };

/**
 * Tells how the inputs of an image stand to the published ones; of a plan, as far as they are known. What can't be told counts as the
 * setting `stagex:verify` has it: with `all` nothing has to be.
 */
export async function publishedStatusOf(
  context: Context,
  plan: PackagePreview | PackageInputs,
): Promise<ExplainedStatus> {
  const { verify } = context.config;
  if (verify === "all") return { kind: "published", reason: heldAll };
  const inDoubt: InputsStatus = verify === "release" ? "published" : "changed";
  const { dependencies, ...own } = plan;
  const inputs = { ...own, dependencies: {} };
  if (!isFullyKnown(inputs) || typeof dependencies !== "object")
    return { kind: "open", reason: "its inputs are not known yet" };
  const { image } = inputs as PackageInputs;
  const published = await context.publishedInputs().catch((error: unknown) => {
    // In doubt an image is held, by default: what can't be compared is no reason to let it pass.
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
  const later = published.doubt(image);
  if (later !== undefined) return { kind: inDoubt, reason: doubtText(later) };
  if (kind === "open")
    return { kind, reason: doubtText("an image that it is built from is not in the store") };
  const reason = `Its inputs are those that commit ${published.commit} published the digest of, or those of a commit that wrote its line: its build differs from run to run, or what built it is at fault`;
  return { kind, reason };
}

function doubtText(doubt: string): string {
  return `Whether its inputs are those that were published can't be told: ${doubt}\n${mend}`;
}

/** Finds the first manifest of an index in a store. */
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
