import { ComponentResource, type ComponentResourceOptions, type Output } from "@pulumi/pulumi";
import type { BuildPlan } from "../distro/build-plan.ts";
import { inputsOfPlan } from "../distro/plan/image-inputs.ts";
import type { Digest } from "../oci/digest.ts";
import { expectedDigestsOf } from "../pipeline/package/expected-digests.ts";
import { Package } from "../providers/stagex/resources/package/resource.ts";
import { shortenBuildFailure, silenceFailedOutputs } from "../pulumi-workarounds/dependency-failure.ts";

export type PackageTreeArgs = {
  /** The images, each after those that it is built from. */
  readonly plans: Iterable<BuildPlan>;
  /**
   * The digest (64 hex digits) that an image must have, by name. An image without one may have any.
   */
  readonly expectedDigests: ReadonlyMap<string, string>;
  /**
   * The same for platforms other than an image's first, by set (distro/tree/digests-file.ts).
   * Default: none.
   */
  readonly furtherDigests?: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /**
   * CPU vendors or builders' names: each image is built once on each of them, and all digests must
   * be equal.
   */
  readonly reproduceOn?: readonly string[] | undefined;
};

/** The images of a StageX tree, each a `Package` that is built from its dependencies' digests. */
export class PackageTree extends ComponentResource {
  readonly packages: ReadonlyMap<string, Package>;

  constructor(name: string, args: PackageTreeArgs, options?: ComponentResourceOptions) {
    super("stagex:index:PackageTree", name, {}, options);
    const packages = new Map<string, Package>();
    const references = new Map<string, Output<Digest>>();
    for (const plan of args.plans) {
      const made = this.#register(plan, references, args);
      packages.set(plan.name, made);
      references.set(plan.name, shortenBuildFailure(made.reference, plan.name));
    }
    this.packages = packages;
    this.registerOutputs({});
  }

  #register(
    plan: BuildPlan,
    references: ReadonlyMap<string, Output<Digest>>,
    { expectedDigests, furtherDigests = new Map(), reproduceOn }: PackageTreeArgs,
  ): Package {
    const dependencies: Record<string, Output<Digest>> = {};
    for (const dependency of plan.dependencies) {
      const reference = references.get(dependency);
      if (!reference)
        throw new Error(`${plan.name} is built from ${dependency}, which is not registered before it`);
      dependencies[dependency] = reference;
    }
    const published = expectedDigestsOf({ digests: expectedDigests, furtherDigests }, plan);
    const compared = reproduceOn === undefined ? {} : { reproduceOn: [...reproduceOn] };
    const made = new Package(
      plan.name,
      { ...inputsOfPlan(plan), dependencies, ...published, ...compared },
      { parent: this },
    );
    silenceFailedOutputs(made);
    return made;
  }
}
