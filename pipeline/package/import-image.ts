import { join } from "node:path";
import { inputKeyOf, inputsOfPlan } from "../../distro/plan/image-inputs.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Image } from "../../oci/image.ts";
import type { Context } from "../context/context.ts";
import type { Operation } from "../operation.ts";
import { expectedDigestsOf } from "./expected-digests.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";
import { imageDigestsOf } from "./ledger-lookup.ts";

/**
 * Imports an image that StageX's own make, say, has built into `out/<image>/`, and the images that
 * it is built from: `pulumi import stagex:index:Package NAME NAME`.
 * @throws Error where one of them is missing or damaged
 */
export async function importImage(
  context: Context,
  name: string,
  operation: Operation,
): Promise<{ inputs: PackageInputs; outputs: PackageOutputs }> {
  const tree = await context.tree();
  const plan = tree.images.get(name);
  if (!plan)
    throw new Error(
      `the tree has no image ${JSON.stringify(name)}; an image's id is its name, such as core-busybox`,
    );
  const store = await context.store();
  const adopt = (image: string): Promise<Image> =>
    store.adopt(join(context.paths.out, image), { signal: operation.signal });

  const image = await adopt(name);
  const dependencies: Record<string, Digest> = {};
  for (const dependency of plan.dependencies) {
    const { platforms } = tree.images.get(dependency) ?? plan;
    dependencies[dependency] = imageDigestsOf(await adopt(dependency), platforms).reference;
  }
  const inputs = { ...inputsOfPlan(plan), dependencies, ...expectedDigestsOf(tree, plan) };
  const inputKey = inputKeyOf(inputs);
  return { inputs, outputs: { ...imageDigestsOf(image, plan.platforms), inputKey, origin: "ledger" } };
}
