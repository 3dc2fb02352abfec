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
import { digestFromHex } from "../oci/digest.ts";
import { readConfiguredTree } from "../pipeline/context/open-tree.ts";
import {
  findUnbuildableImages,
  formatOtherPlatforms,
  formatUnbuildableImages,
  plannedPlatforms,
} from "../pipeline/fleet/platform-coverage.ts";
import { shortenBuildFailure } from "../pulumi-workarounds/dependency-failure.ts";
import { logToEngine } from "./engine-log.ts";
import { logForecast } from "./log-forecast.ts";
import { readStackConfig } from "./stack-config.ts";

/** The outputs of the reproduce stack. */
export type ReproduceOutputs = {
  /** The manifest digest of each image, by name. */
  readonly images: Output<Record<string, Digest>>;
  /** The number of images with their published digest. */
  readonly verified: Output<number>;
  /**
   * The images whose digest differs from one that was published for other inputs: `was sha256:…`,
   * by name.
   */
  readonly new: Output<Record<string, string>>;
  /**
   * With `stagex:attest` only: the images that are not attested, because they were pulled and not
   * built.
   */
  readonly unattested?: Output<string[]>;
};

/**
 * Builds the chosen images of a tree, and compares those that `stagex:verify` names with their
 * published digests.
 */
export async function reproduce(): Promise<ReproduceOutputs> {
  const config = readStackConfig();
  if (allConfig()?.["stagex:verify"] === "true")
    await logToEngine(
      "info",
      printable`stagex:verify true is now "all": pulumi config set stagex:verify all`,
    );
  const tree = await readConfiguredTree(config, pathsOf());
  if (tree.warnings.length > 0) await logToEngine("warning", printableLines(formatWarnings(tree.warnings)));
  const plans = selectImages(tree.images, config.images);
  // Checks the names now: the provider would find an unknown one only when it pulls or rebuilds.
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
  logForecast([...packages.values()], pathsOf().forecast);
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
 * Returns the same digests, unknown in a preview with an image that is yet to be made: predicted
 * digests have not been compared, and an image's origin is known only from the state.
 */
function onceMade(
  images: Output<Record<string, Digest>>,
  packages: PackageTree["packages"],
): Output<Record<string, Digest>> {
  const origins = [...packages].map(([name, { origin }]) => shortenBuildFailure(origin, name));
  return all([images, all(origins)]).apply(([found]) => found);
}

/** Returns the images with their published digest, and the others with the published one. */
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

/**
 * Reports, in a preview, images for other platforms, and those that no configured builder can
 * build, as far as is known in advance.
 */
async function announceUnfit(config: StagexConfig, plans: readonly BuildPlan[]): Promise<void> {
  if (!isDryRun()) return;
  const elsewhere = isUsual(config.platforms) ? undefined : formatOtherPlatforms(plans, config.platforms);
  if (elsewhere) await logToEngine("info", elsewhere);
  const builders = await plannedPlatforms(config);
  const unfit = builders ? findUnbuildableImages(plans, builders) : [];
  if (unfit.length > 0) await logToEngine("warning", formatUnbuildableImages(unfit));
}

/**
 * Reports whether these are the platforms of StageX's own Makefile: that its bootstrap is for
 * linux/386 needs no message then.
 */
function isUsual(platforms: readonly string[]): boolean {
  return platforms.length === 1 && platforms[0] === "linux/amd64";
}

/**
 * Registers the attestations of images built here, if a maintainer attests. Returns the others, and
 * reports them.
 */
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
        printable`${person} does not attest images that were pulled instead of built: ${names.join(", ")}`,
      );
    return names;
  });
}

/**
 * Registers the builders of the configured fleets. Without a fleet, the provider uses a daemon that
 * is no resource.
 */
async function registerBuilders({ builders = [], localBuilders = 0, aws }: StagexConfig): Promise<void> {
  const paths = pathsOf();
  const members = [
    ...staticFleet(builders, paths.project),
    ...localFleet(localBuilders),
    // Few stacks have one; the others do not load its library.
    ...(aws ? await (await import("./fleet.ts")).deployAwsBuilders(aws, paths) : []),
  ];
  if (members.length > 0) new Builders("builders", members);
}
