import { all, ComponentResource, type ComponentResourceOptions, type Output, recover } from "@pulumi/pulumi";
import type { BuildPlan } from "../distro/build-plan.ts";
import { Attestation } from "../providers/stagex/resources/attestation/resource.ts";
import type { Package } from "../providers/stagex/resources/package/resource.ts";
import { shortenBuildFailure, silenceFailedOutputs } from "../pulumi-workarounds/dependency-failure.ts";

export type AttestationsArgs = {
  readonly plans: Iterable<BuildPlan>;
  /** The images of those plans, by name. */
  readonly packages: ReadonlyMap<string, Package>;
  /** The maintainer who attests: a person's id in MAINTAINERS. */
  readonly person: string;
  /** The images' name in signatures: the part before `/<image>:<version>`. */
  readonly signedAs: string;
  /** The names of images that may be pulled instead of built. */
  readonly substitutable: ReadonlySet<string>;
};

/** The attestations of one maintainer: one for every image of a stack that was built here. */
export class Attestations extends ComponentResource {
  /** The images that were pulled, and so are not attested, sorted. */
  readonly unattested: Output<string[]>;

  constructor(name: string, args: AttestationsArgs, options?: ComponentResourceOptions) {
    super("stagex:index:Attestations", name, {}, options);
    const pulled: Output<string | undefined>[] = [];
    for (const plan of args.plans) {
      const made = args.packages.get(plan.name);
      if (!made) throw new Error(`${plan.name} is to be attested, but is not among the packages`);
      if (!args.substitutable.has(plan.name)) {
        this.#register(plan, made, args);
        continue;
      }
      // Its origin is known only once it exists.
      const outcome = made.origin.apply((origin) => {
        if (origin === "substituted") return plan.name;
        this.#register(plan, made, args);
        return undefined;
      });
      pulled.push(recover<string | undefined>(outcome, () => undefined));
    }
    this.unattested = all(pulled).apply((names) => names.filter((one) => one !== undefined).sort());
    this.registerOutputs({});
  }

  #register({ name, version }: BuildPlan, made: Package, { person, signedAs }: AttestationsArgs): void {
    const args = {
      image: name,
      reference: `${signedAs}/${name}:${version}`,
      digests: shortenBuildFailure(made.digests, name),
      inputKey: shortenBuildFailure(made.inputKey, name),
      person,
    };
    silenceFailedOutputs(new Attestation(name, args, { parent: this }));
  }
}
