import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { BuildPlan } from "../../distro/build-plan.ts";
import { parseContainerfile } from "../../distro/recipe/containerfile-parser.ts";
import { readTree } from "../../distro/tree/tree.ts";
import { type Download, type MakeRule, readDownloads, readMakeRules } from "./generator.ts";

/** The result of comparing our reading of a checkout with that of its own scripts. */
export type GeneratorComparison = {
  readonly images: number;
  readonly dependencies: number;
  readonly sources: number;
  /** The differences, a line each. */
  readonly differences: readonly string[];
  /**
   * Build arguments that differ and that no ARG of the Containerfile declares, so the build ignores
   * them.
   */
  readonly undeclared: number;
  /** True if the checkout's fetch.py could be called. */
  readonly fetchAsked: boolean;
};

const platform = "linux/amd64";

/**
 * Compares every image of a StageX checkout with the output of its `src/targets.py` and
 * `src/fetch.py`.
 */
export async function compareWithGenerator(tree: string): Promise<GeneratorComparison> {
  const { images } = await readTree(tree, { platforms: [platform] });
  const rules = readMakeRules(tree, platform);
  const fetched = readDownloads(tree);
  const missing = [...rules.keys()]
    .filter((name) => !images.has(name))
    .map((name) => `${name}: we do not know it`);
  const plans = [...images.values()].map((plan) => compare(tree, plan, rules.get(plan.name), fetched));
  return {
    images: images.size,
    dependencies: sum([...images.values()].map((plan) => plan.dependencies.length)),
    sources: sum([...images.values()].map((plan) => plan.sources.length)),
    differences: [...missing, ...plans.flatMap(({ differences }) => differences)],
    undeclared: sum(plans.map(({ undeclared }) => undeclared)),
    fetchAsked: fetched !== undefined,
  };
}

function compare(
  tree: string,
  plan: BuildPlan,
  rule: MakeRule | undefined,
  fetched: ReadonlyMap<string, Download[]> | undefined,
): { differences: string[]; undeclared: number } {
  if (rule === undefined) return { differences: [`${plan.name}: only we know it`], undeclared: 0 };
  const sources = plan.sources.map(({ file, sha256, mirrors }) => ({ file, sha256, mirrors }));
  const args = differingArgs(plan, rule);
  const declared = args.length === 0 ? new Set<string>() : declaredArgs(tree, plan);
  const pairs: [string, unknown, unknown][] = [
    ["recipe", plan.recipe, rule.recipe],
    ["target", plan.target, rule.target],
    ["version", plan.version, rule.version],
    ["platforms", plan.platforms, rule.platforms],
    ["dependencies", plan.dependencies, rule.dependencies],
    ...(fetched
      ? [["sources", sources, fetched.get(plan.folder) ?? []] satisfies [string, unknown, unknown]]
      : []),
    ...args
      .filter((name) => declared.has(name))
      .map((name): [string, unknown, unknown] => [name, plan.buildArgs[name], rule.buildArgs[name]]),
  ];
  return {
    differences: pairs
      .filter(([, ours, theirs]) => !isDeepStrictEqual(ours, theirs))
      .map(
        ([what, ours, theirs]) =>
          `${plan.name}: ${what}: ours ${JSON.stringify(ours)}, StageX's ${JSON.stringify(theirs)}`,
      ),
    undeclared: args.filter((name) => !declared.has(name)).length,
  };
}

function differingArgs(plan: BuildPlan, rule: MakeRule): string[] {
  const names = new Set([...Object.keys(plan.buildArgs), ...Object.keys(rule.buildArgs)]);
  return [...names].filter((name) => plan.buildArgs[name] !== rule.buildArgs[name]);
}

function declaredArgs(tree: string, { recipe }: BuildPlan): ReadonlySet<string> {
  return parseContainerfile(recipe, readFileSync(join(tree, recipe), "utf8")).args;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
