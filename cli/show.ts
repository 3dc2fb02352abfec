import { Command } from "commander";
import type { BuildPlan } from "../distro/build-plan.ts";
import { namesLike, UnknownImageError } from "../distro/graph.ts";
import { readTree, type Tree } from "../distro/tree.ts";
import { TreeError } from "../distro/tree-error.ts";
import { type Printable, printable, printableJson, printableLines } from "../lib/printable.ts";
import { print } from "../lib/terminal.ts";
import { CommandError } from "./exit-code.ts";

type Options = { tree: string; all?: true; json?: true };

/** What `stagex show --json` prints of an image; other programs read it. */
export type ShownImage = Pick<
  BuildPlan,
  "name" | "recipe" | "target" | "version" | "platforms" | "buildArgs" | "dependencies"
> & {
  /** Of images that fetch in a RUN, only. */
  readonly fetchers?: readonly string[];
  readonly sources: readonly Pick<BuildPlan["sources"][number], "file" | "sha256" | "mirrors">[];
};

/** `stagex show`: what a tree says of its images. */
export function showCommand(): Command {
  return new Command("show")
    .description("Shows what a tree says of its images: what each is built from, and with which arguments.")
    .argument("[name...]", "images, by name or glob: core-busybox 'core-*'")
    .option("--all", "all images of the tree")
    .option("--tree <folder>", "the StageX tree", ".")
    .option("--json", "an array, one object an image")
    .action(async (names: string[], options: Options) => {
      const tree = await readTree(options.tree);
      const images = chosenImages(tree, names, options);
      const refusals = options.all ? [] : images.flatMap((image) => image.refusals);
      if (refusals.length > 0) throw new TreeError(refusals);
      print(options.json ? printableJson(images.map(shown)) : page(tree, images, options));
    });
}

function chosenImages(tree: Tree, names: readonly string[], { all }: Options): BuildPlan[] {
  if (all && names.length > 0) throw new CommandError("either --all or names of images, not both");
  if (all) return [...tree.images.values()];
  if (names.length === 0) throw new CommandError("which images? Give their names, or --all");
  try {
    return namesLike(tree.images, names).flatMap((name) => tree.images.get(name) ?? []);
  } catch (error) {
    if (!(error instanceof UnknownImageError)) throw error;
    throw new CommandError(`${error.message} ${printable`(${tree.images.size} images in ${tree.root})`}`);
  }
}

function shown(plan: BuildPlan): ShownImage {
  return {
    name: plan.name,
    recipe: plan.recipe,
    target: plan.target,
    version: plan.version,
    platforms: plan.platforms,
    buildArgs: plan.buildArgs,
    dependencies: plan.dependencies,
    ...(plan.fetchers.length > 0 ? { fetchers: plan.fetchers } : {}),
    sources: plan.sources.map(({ file, sha256, mirrors }) => ({ file, sha256, mirrors })),
  };
}

function page(tree: Tree, images: readonly BuildPlan[], { all }: Options): Printable {
  if (!all) return printableLines(images.flatMap((plan, index) => imageLines(tree, plan, index > 0)));
  const width = Math.max(...images.map(({ name }) => name.length));
  const lines = images.map(({ name, version, dependencies, sources, fetchers }) => {
    const fetching = fetchers.length > 0 ? `, fetches with ${fetchers.join(", ")}` : "";
    return printable`${name.padEnd(width)}  ${version}, from ${dependencies.length} images and ${sources.length} sources${fetching}`;
  });
  const fetching = images.filter(({ fetchers }) => fetchers.length > 0).length;
  const count = printable`${images.length} images of ${tree.packages.size} packages, each after all that it is built from; ${fetching} of them fetch in a RUN`;
  return printableLines([...lines, printable``, count]);
}

/** @param isFurther whether another image is shown above it */
function imageLines(tree: Tree, plan: BuildPlan, isFurther: boolean): Printable[] {
  const toml = tree.packages.get(plan.folder)?.toml;
  const facts: [string, readonly string[]][] = [
    ["recipe", [plan.recipe]],
    ["target", [plan.target ?? "the last stage"]],
    ["platforms", plan.platforms],
    ["license", toml?.license ? [toml.license] : []],
    ["website", toml?.website ? [toml.website] : []],
    ["build arguments", Object.entries(plan.buildArgs).map(([name, value]) => `${name}=${value}`)],
    ["built from", plan.dependencies],
    [
      "sources",
      plan.sources.flatMap(({ file, sha256, mirrors }) => [
        `${file}  sha256:${sha256}`,
        ...mirrors.map((mirror) => `  ${mirror}`),
      ]),
    ],
    ["fetches with", plan.fetchers],
    ["context", plan.context.map(({ path, mode, sha256 }) => `${path}  ${mode}  sha256:${sha256}`)],
    ["published", publishedDigest(tree, plan)],
  ];
  const title = printable`${plan.name} ${plan.version}${toml?.description ? ` - ${toml.description}` : ""}`;
  return [...(isFurther ? [printable``] : []), title, ...facts.flatMap(factLines)];
}

function factLines([label, lines]: [string, readonly string[]]): Printable[] {
  return lines.map((line, index) => printable`  ${(index === 0 ? label : "").padEnd(15)}  ${line}`);
}

function publishedDigest(tree: Tree, { name }: BuildPlan): string[] {
  const hex = tree.digests.get(name);
  return hex === undefined ? [] : [`sha256:${hex}`];
}
