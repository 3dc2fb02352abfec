import { all, type Output } from "@pulumi/pulumi";
import { isDryRun } from "@pulumi/pulumi/runtime/index.js";
import { Attestations, type AttestationsArgs } from "../components/attestations.ts";
import { Builders } from "../components/builder-fleet/builders.ts";
import { localFleet } from "../components/builder-fleet/local.ts";
import { staticFleet } from "../components/builder-fleet/static.ts";
import { orNotBuilt } from "../components/not-built.ts";
import { PackageTree } from "../components/package-tree.ts";
import { chooseImages, namesLike } from "../distro/graph.ts";
import { warningLines } from "../distro/tree-error.ts";
import { printable, printableLines } from "../lib/printable.ts";
import type { Digest } from "../oci/digest.ts";
import type { StagexConfig } from "../providers/stagex/config.ts";
import { configuredTree } from "../providers/stagex/configured-tree.ts";
import { placesOf } from "../tools/places.ts";
import { announce } from "./announce.ts";
import { previewForecast } from "./preview-forecast.ts";
import { stackConfig } from "./stack-config.ts";

/** What the stack tells whoever reads its outputs. */
export type Reproduced = {
  /** The manifest digest of each image, by name. */
  readonly images: Output<Record<string, Digest>>;
  /** How many of them have a published digest that they were held against. */
  readonly verified: number;
  /** Only where somebody attests: the images of which they can say nothing, because they were pulled and not built. */
  readonly unattested?: Output<string[]>;
};

/** Builds the chosen images of a tree, and holds each against the digest that the tree publishes for it. */
export async function reproduce(): Promise<Reproduced> {
  const config = stackConfig();
  const tree = await configuredTree(config, placesOf());
  if (tree.warnings.length > 0) await announce("warning", printableLines(warningLines(tree.warnings)));
  const plans = chooseImages(tree.images, config.images);
  // The provider would find a name that is none only once it comes to pull something.
  const substitutable = new Set(namesLike(tree.images, config.substitute ?? []));
  await registerBuilders(config);
  const expectedDigests = config.verify ? tree.digests : new Map<string, string>();
  const { packages } = new PackageTree("tree", { plans, expectedDigests, reproduceOn: config.reproduceOn });
  const digests = [...packages].map(([name, made]) => [name, orNotBuilt(made.digest, name)] as const);
  const unattested = attested(config, { plans, packages, substitutable });
  previewForecast([...packages.values()], placesOf().forecast);
  return {
    images: all(Object.fromEntries(digests)),
    verified: plans.filter(({ name }) => expectedDigests.has(name)).length,
    ...(unattested ? { unattested } : {}),
  };
}

/** Has each image attested that is built here, if somebody is to; the images that were not, as the engine's output says too. */
function attested(
  { attest: person, signedAs }: StagexConfig,
  images: Pick<AttestationsArgs, "plans" | "packages" | "substitutable">,
): Output<string[]> | undefined {
  if (person === undefined) return undefined;
  const { unattested } = new Attestations("attestations", { ...images, person, signedAs });
  return unattested.apply(async (names) => {
    if (names.length > 0 && !isDryRun())
      await announce(
        "info",
        printable`${person} attests none of what was pulled instead of built: ${names.join(", ")}`,
      );
    return names;
  });
}

/** The builders of the configured fleets; without one, the provider has a daemon that is no resource. */
async function registerBuilders({ builders = [], localBuilders = 0, aws }: StagexConfig): Promise<void> {
  const places = placesOf();
  const members = [
    ...staticFleet(builders, places.project),
    ...localFleet(localBuilders),
    // Few stacks have one: the others don't wait for its library.
    ...(aws ? await (await import("./fleet.ts")).awsMembers(aws, places) : []),
  ];
  if (members.length > 0) new Builders("builders", members);
}
