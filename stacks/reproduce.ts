import { all, type Output } from "@pulumi/pulumi";
import { allConfig } from "@pulumi/pulumi/runtime/index.js";
import { orNotBuilt } from "../components/not-built.ts";
import { PackageTree } from "../components/package-tree.ts";
import { chooseImages, namesLike } from "../distro/graph.ts";
import type { Digest } from "../oci/digest.ts";
import { parseConfig, type StagexConfig } from "../providers/stagex/config.ts";
import { configuredTree } from "../providers/stagex/configured-tree.ts";
import type { ForecastOutputs } from "../providers/stagex/forecast/function.ts";
import { placesOf } from "../tools/places.ts";
import { previewForecast } from "./preview-forecast.ts";

/** What the stack tells whoever reads its outputs. */
export type Reproduced = {
  /** The manifest digest of each image, by name. */
  readonly images: Output<Record<string, Digest>>;
  /** How many of them have a published digest that they were held against. */
  readonly verified: number;
  /** Only of a preview. */
  readonly forecast?: Output<ForecastOutputs>;
};

/** Builds the chosen images of a tree, and holds each against the digest that the tree publishes for it. */
export async function reproduce(): Promise<Reproduced> {
  const config = stackConfig();
  const tree = await configuredTree(config, placesOf());
  const plans = chooseImages(tree.images, config.images);
  // The provider would find a name that is none only once it comes to pull something.
  namesLike(tree.images, config.substitute ?? []);
  const expectedDigests = config.verify ? tree.digests : new Map<string, string>();
  const { packages } = new PackageTree("tree", { plans, expectedDigests });
  const digests = [...packages].map(([name, made]) => [name, orNotBuilt(made.digest, name)] as const);
  const forecast = previewForecast([...packages.values()]);
  return {
    images: all(Object.fromEntries(digests)),
    verified: plans.filter(({ name }) => expectedDigests.has(name)).length,
    ...(forecast ? { forecast } : {}),
  };
}

/** The `stagex:` configuration of this stack, all keys checked at once. */
function stackConfig(): StagexConfig {
  const prefix = "stagex:";
  const keys = Object.entries(allConfig() ?? {}).filter(([key]) => key.startsWith(prefix));
  return parseConfig(Object.fromEntries(keys.map(([key, value]) => [key.slice(prefix.length), value])));
}
