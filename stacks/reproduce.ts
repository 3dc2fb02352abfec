import { all, type Output } from "@pulumi/pulumi";
import { allConfig, isDryRun } from "@pulumi/pulumi/runtime/index.js";
import { Attestations, type AttestationsArgs } from "../components/attestations.ts";
import { Builders } from "../components/builder-fleet/builders.ts";
import { localFleet } from "../components/builder-fleet/local.ts";
import { staticFleet } from "../components/builder-fleet/static.ts";
import { PackageTree } from "../components/package-tree.ts";
import type { StagexConfig } from "../config/schema.ts";
import type { BuildPlan } from "../distro/build-plan.ts";
import { resolveImageNames, selectImages } from "../distro/image-names.ts";
import { formatWarnings } from "../distro/tree-error.ts";
import { pathsOf } from "../lib/paths.ts";
import { printable, printableLines } from "../lib/text/printable.ts";
import type { Digest } from "../oci/digest.ts";
import { readConfiguredTree } from "../pipeline/context/open-tree.ts";
import {
  findUnbuildableImages,
  formatOtherPlatforms,
  formatUnbuildableImages,
  plannedPlatforms,
} from "../pipeline/fleet/platform-coverage.ts";
import { digestFromHex } from "../pipeline/package/inputs-from-build-plan.ts";
import { shortenBuildFailure } from "../pulumi-workarounds/dependency-failure.ts";
import { logToEngine } from "./engine-log.ts";
import { showForecast } from "./show-forecast.ts";
import { readStackConfig } from "./stack-config.ts";

/** What the stack tells whoever reads its outputs. */
export type ReproduceOutputs = {
  /** The manifest digest of each image, by name. */
  readonly images: Output<Record<string, Digest>>;
  /** How many of them have their published digest. */
  readonly verified: Output<number>;
  /** Those that have another than was published of other inputs: `was sha256:…`, by name. */
  readonly new: Output<Record<string, string>>;
  /** Only where somebody attests: the images of which they can say nothing, because they were pulled and not built. */
  readonly unattested?: Output<string[]>;
};

/** Builds the chosen images of a tree, and has those held against their published digests that `stagex:verify` names. */
export async function reproduce(): Promise<ReproduceOutputs> {
  const config = readStackConfig();
  if (allConfig()?.["stagex:verify"] === "true")
    await logToEngine(
      "info",
      printable`stagex:verify true is called "all" now: pulumi config set stagex:verify all`,
    );
  const tree = await readConfiguredTree(config, pathsOf());
  if (tree.warnings.length > 0) await logToEngine("warning", printableLines(formatWarnings(tree.warnings)));
  const plans = selectImages(tree.images, config.images);
  // The provider would find a name that is none only once it comes to pull or rebuild something.
  const substitutable = new Set(resolveImageNames(tree.images, config.substitute ?? []));
  resolveImageNames(tree.images, config.rebuild ?? []);
  await announceUnfit(
    config,
    plans.filter(({ name }) => !substitutable.has(name)),
  );
  await registerBuilders(config);
  const { digests: expectedDigests, furtherDigests } = tree;
  const { packages } = new PackageTree("tree", {
    ...{ plans, expectedDigests, furtherDigests, reproduceOn: config.reproduceOn },
  });
  const digests = [...packages].map(
    ([name, made]) => [name, shortenBuildFailure(made.digest, name)] as const,
  );
  const images = all(Object.fromEntries(digests));
  const unattested = attested(config, { plans, packages, substitutable });
  showForecast([...packages.values()], pathsOf().forecast);
  return {
    images,
    verified: (isDryRun() ? onceMade(images, packages) : images).apply(
      (found) => compared(found, expectedDigests).equal.length,
    ),
    new: images.apply((found) =>
      Object.fromEntries(compared(found, expectedDigests).others.map(([name, was]) => [name, `was ${was}`])),
    ),
    ...(unattested ? { unattested } : {}),
  };
}

/**
 * The same digests, unknown in a preview in which one of the images is yet to be made: how it is come by is known from the state alone, and
 * what is foretold has been held against nothing.
 */
function onceMade(
  images: Output<Record<string, Digest>>,
  packages: PackageTree["packages"],
): Output<Record<string, Digest>> {
  const origins = [...packages].map(([name, { origin }]) => shortenBuildFailure(origin, name));
  return all([images, all(origins)]).apply(([found]) => found);
}

/** The images that have their published digest, and those that do not, with that. */
function compared(
  digests: Readonly<Record<string, Digest>>,
  published: ReadonlyMap<string, string>,
): { equal: string[]; others: [string, Digest][] } {
  const known = Object.entries(digests).flatMap(([name, digest]) => {
    const hex = published.get(name);
    return hex === undefined ? [] : [{ name, digest, was: digestFromHex(hex) }];
  });
  return {
    equal: known.filter(({ digest, was }) => digest === was).map(({ name }) => name),
    others: known.filter(({ digest, was }) => digest !== was).map(({ name, was }) => [name, was]),
  };
}

/** Tells a preview which images are for other platforms, and which the configured builders can't build, as far as that is known before they are asked. */
async function announceUnfit(config: StagexConfig, plans: readonly BuildPlan[]): Promise<void> {
  if (!isDryRun()) return;
  const elsewhere = isUsual(config.platforms) ? undefined : formatOtherPlatforms(plans, config.platforms);
  if (elsewhere) await logToEngine("info", elsewhere);
  const builders = await plannedPlatforms(config);
  const unfit = builders ? findUnbuildableImages(plans, builders) : [];
  if (unfit.length > 0) await logToEngine("warning", formatUnbuildableImages(unfit));
}

/** What StageX's own Makefile builds for: nobody has to be told that its bootstrap is for linux/386. */
function isUsual(platforms: readonly string[]): boolean {
  return platforms.length === 1 && platforms[0] === "linux/amd64";
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
      await logToEngine(
        "info",
        printable`${person} attests none of what was pulled instead of built: ${names.join(", ")}`,
      );
    return names;
  });
}

/** The builders of the configured fleets; without one, the provider has a daemon that is no resource. */
async function registerBuilders({ builders = [], localBuilders = 0, aws }: StagexConfig): Promise<void> {
  const paths = pathsOf();
  const members = [
    ...staticFleet(builders, paths.project),
    ...localFleet(localBuilders),
    // Few stacks have one: the others don't wait for its library.
    ...(aws ? await (await import("./fleet.ts")).deployAwsBuilders(aws, paths) : []),
  ];
  if (members.length > 0) new Builders("builders", members);
}
