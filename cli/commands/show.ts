import { Command } from "commander";
import { matchPlatforms, type PlatformMatch } from "../../buildkit/scheduler/platform-match.ts";
import type { BuildPlan } from "../../distro/build-plan.ts";
import { ImageNameError, resolveImageNames } from "../../distro/image-names.ts";
import { platformsToRun } from "../../distro/recipe/run-platforms.ts";
import { readTree, type Tree } from "../../distro/tree/tree.ts";
import { TreeError } from "../../distro/tree-error.ts";
import { type Printable, printable, printableJson, printableLines } from "../../lib/text/printable.ts";
import { print } from "../../lib/text/terminal.ts";
import { CommandError } from "../output/exit-code.ts";
import { printTreeWarnings } from "../output/tree-warnings.ts";

type Options = { tree: string; all?: true; json?: true; platforms?: string; on?: string };

/** An image in the output of `stagex show --json`; other programs read it. */
export type ShownImage = Pick<
  BuildPlan,
  "name" | "recipe" | "target" | "version" | "platforms" | "buildArgs" | "dependencies"
> & {
  /** Platforms whose programs its build runs; empty for an image that is made of files alone. */
  readonly runs: readonly string[];
  /** With `--on`: the way in which such a builder builds it. */
  readonly on?: PlatformMatch;
  /** Only of images that fetch in a RUN. */
  readonly fetchers?: readonly string[];
  readonly sources: readonly Pick<BuildPlan["sources"][number], "file" | "sha256" | "mirrors">[];
};

/** Creates `stagex show`, which shows the data that a tree has of its images. */
export function showCommand(): Command {
  return new Command("show")
    .description("Shows what a tree says of its images: what each is built from, and with which arguments.")
    .argument("[name...]", "images, by name or glob: core-busybox, busybox, 'core-*', '!core-llvm'")
    .option("--all", "all images of the tree")
    .option("--tree <folder>", "the StageX tree", ".")
    .option(
      "--platforms <list>",
      "what packages without platforms of their own are built for: linux/amd64,linux/arm64",
    )
    .option(
      "--on <list>",
      "list what a builder with these platforms can build; name its native one first: linux/arm64",
    )
    .option("--json", "an array, one object an image")
    .action(async (names: string[], options: Options) => {
      const platforms = options.platforms?.split(",");
      const tree = await readTree(options.tree, platforms === undefined ? {} : { platforms });
      printTreeWarnings(tree);
      const images = chosenImages(tree, names, options);
      const refusals = options.all ? [] : images.flatMap((image) => image.refusals);
      if (refusals.length > 0) throw new TreeError(refusals);
      print(
        options.json
          ? printableJson(images.map((plan) => shown(plan, options)))
          : page(tree, images, options),
      );
    });
}

function chosenImages(tree: Tree, names: readonly string[], { all }: Options): BuildPlan[] {
  if (all && names.length > 0) throw new CommandError("either --all or names of images, not both");
  if (all) return [...tree.images.values()];
  if (names.length === 0) throw new CommandError("which images? Give their names, or --all");
  try {
    return resolveImageNames(tree.images, names).flatMap((name) => tree.images.get(name) ?? []);
  } catch (error) {
    if (!(error instanceof ImageNameError)) throw error;
    throw new CommandError(`${error.message} ${printable`(${tree.images.size} images in ${tree.root})`}`);
  }
}

function shown(plan: BuildPlan, { on }: Options): ShownImage {
  return {
    name: plan.name,
    recipe: plan.recipe,
    target: plan.target,
    version: plan.version,
    platforms: plan.platforms,
    runs: platformsToRun(plan, plan.platforms),
    ...(on === undefined ? {} : { on: fitOn(plan, on) }),
    buildArgs: plan.buildArgs,
    dependencies: plan.dependencies,
    ...(plan.fetchers.length > 0 ? { fetchers: plan.fetchers } : {}),
    sources: plan.sources.map(({ file, sha256, mirrors }) => ({ file, sha256, mirrors })),
  };
}

/** Returns the way in which a builder with these platforms builds the image. */
function fitOn(plan: BuildPlan, on: string): PlatformMatch {
  return matchPlatforms(on.split(","), platformsToRun(plan, plan.platforms));
}

/** Formats what prevents or slows a build on the builder of `--on`; empty for a native build. */
function fitText(plan: BuildPlan, { on }: Options): Printable {
  const fit = on === undefined ? "native" : fitOn(plan, on);
  if (fit === "native") return printable``;
  const programs = `${platformsToRun(plan, plan.platforms).join(" and ")} programs`;
  return fit === "none"
    ? printable`; not on ${on ?? ""}: its steps run ${programs}`
    : printable`; emulated: its steps run ${programs}`;
}

function page(tree: Tree, images: readonly BuildPlan[], options: Options): Printable {
  const { all, on } = options;
  if (!all)
    return printableLines(images.flatMap((plan, index) => imageLines(tree, plan, options, index > 0)));
  const width = Math.max(...images.map(({ name }) => name.length));
  const lines = images.map((plan) => {
    const { name, version, dependencies, sources, fetchers } = plan;
    const fetching = fetchers.length > 0 ? `, fetches with ${fetchers.join(", ")}` : "";
    return printable`${name.padEnd(width)}  ${version}, from ${dependencies.length} images and ${sources.length} sources${fetching}${fitText(plan, options)}`;
  });
  const fetching = images.filter(({ fetchers }) => fetchers.length > 0).length;
  const fetch = fetching > 0 ? `; ${fetching} of them fetch in a RUN` : "";
  const count = printable`${images.length} images of ${tree.packages.size} packages, each after all that it is built from${fetch}`;
  const able = on === undefined ? [] : images.filter((plan) => fitOn(plan, on) !== "none");
  const fits = on === undefined ? [] : [printable`${able.length} of them can be built on ${on}`];
  return printableLines([...lines, printable``, count, ...fits]);
}

/** @param isFurther whether another image is shown above it */
function imageLines(tree: Tree, plan: BuildPlan, options: Options, isFurther: boolean): Printable[] {
  const toml = tree.packages.get(plan.folder)?.toml;
  const facts: [string, readonly string[]][] = [
    ["recipe", [plan.recipe]],
    ["target", [plan.target ?? "the last stage"]],
    [
      "platforms",
      toml?.platforms.length
        ? [`${plan.platforms.join(", ")} (its own, whatever is asked for)`]
        : plan.platforms,
    ],
    ["steps run", stepsText(plan, options)],
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

function stepsText(plan: BuildPlan, { on }: Options): string[] {
  const programs = platformsToRun(plan, plan.platforms);
  const fit =
    on === undefined
      ? []
      : [{ native: "builds", emulated: "builds by emulation", none: "can't build" }[fitOn(plan, on)]];
  return [
    programs.length === 0 ? "nothing: it is made of files alone" : `programs for ${programs.join(" and ")}`,
    ...fit.map((verb) => `a builder for ${on} ${verb} it`),
  ];
}

function factLines([label, lines]: [string, readonly string[]]): Printable[] {
  return lines.map((line, index) => printable`  ${(index === 0 ? label : "").padEnd(15)}  ${line}`);
}

function publishedDigest(tree: Tree, { name }: BuildPlan): string[] {
  const hex = tree.digests.get(name);
  const further = [...tree.furtherDigests].flatMap(([set, digests]) => {
    const found = digests.get(name);
    return found === undefined ? [] : [`sha256:${found} (${set})`];
  });
  return [...(hex === undefined ? [] : [`sha256:${hex}`]), ...further];
}
