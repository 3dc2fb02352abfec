import { all, ComponentResource, type ComponentResourceOptions, type Output, recover } from "@pulumi/pulumi";
import type { BuildPlan } from "../distro/build-plan.ts";
import type { InputKey } from "../distro/input-key.ts";
import { Attestation } from "../providers/stagex/resources/attestation/resource.ts";
import type { Package } from "../providers/stagex/resources/package/resource.ts";
import { shortenBuildFailure, silenceFailedOutputs } from "../pulumi-workarounds/dependency-failure.ts";

export type AttestationsArgs = {
  readonly plans: Iterable<BuildPlan>;
  /** The images of those plans, by name. */
  readonly packages: ReadonlyMap<string, Package>;
  /** Who attests: a person's id in MAINTAINERS. */
  readonly person: string;
  /** What stands before `/<image>:<version>` in what is signed. */
  readonly signedAs: string;
  /** The images that may turn out to be others' builds, by name. */
  readonly substitutable: ReadonlySet<string>;
};

/** One maintainer's word on every image of a stack that was built here: an `Attestation` each. */
export class Attestations extends ComponentResource {
  /** The images that were pulled, of which nothing can be said, sorted. */
  readonly unattested: Output<string[]>;

  constructor(name: string, args: AttestationsArgs, options?: ComponentResourceOptions) {
    super("stagex:index:Attestations", name, {}, options);
    const pulled: Output<string | undefined>[] = [];
    for (const plan of args.plans) {
      const made = args.packages.get(plan.name);
      if (!made) throw new Error(`${plan.name} is to be attested, and is none of the images`);
      if (!args.substitutable.has(plan.name)) {
        this.#register(plan, made, args);
        continue;
      }
      // How it was come by shows only when it is there.
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
      inputKey: shortenBuildFailure(made.inputKey, name) as Output<InputKey>,
      person,
    };
    silenceFailedOutputs(new Attestation(name, args, { parent: this }));
  }
}
