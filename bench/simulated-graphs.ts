import { createHash } from "node:crypto";
import { estimateBuilds } from "../distro/plan/build-durations.ts";
import type { Tree } from "../distro/tree/tree.ts";
import { randomNumbers } from "../test/support/scheduling/random-numbers.ts";
import type { Graph, SimulatedImage } from "../test/support/scheduling/simulation.ts";

/** Returns the graph of a tree in the order of the goals of StageX's Makefile: stage by stage. */
export function graphOfTree(tree: Tree, recorded: ReadonlyMap<string, number>): Graph {
  const expected = estimateBuilds(tree.images, recorded);
  const stages = ["pallet", "bootstrap", "core", "user"];
  const images = [...tree.images.values()].sort((a, b) => stages.indexOf(a.stage) - stages.indexOf(b.stage));
  return new Map(
    images.map(({ name, recipe, dependencies, platforms }): [string, SimulatedImage] => {
      const found = expected.get(name);
      const seconds = found?.seconds ?? 0;
      // Recorded times are used as they are. Modelled ones scatter as packages of a kind do, alike
      // for all images of a recipe.
      const factor = recorded.has(name) ? 1 : Math.exp(0.7 * normal(recipe));
      const shared = found?.shared && { name: recipe, seconds: found.shared.seconds * factor };
      return [name, { dependencies, platforms, seconds: seconds * factor, shared, bytes: 64 * 2 ** 20 }];
    }),
  );
}

/**
 * Returns the graph with wrong estimates: each duration is multiplied by a lognormal factor of this
 * sigma.
 */
export function withWrongEstimates(graph: Graph, sigma: number): Graph {
  return new Map(
    [...graph].map(([name, image]) => {
      const error = Math.exp(sigma * normal(`foretold ${image.shared?.name ?? name}`));
      return [name, { ...image, expected: image.seconds * error }];
    }),
  );
}

/**
 * Returns a graph of any number of images in the shape of StageX's: 40 levels, a few images below
 * all others, lognormal durations.
 */
export function syntheticGraph(images: number): Graph {
  const random = randomNumbers(images);
  const levels: string[][] = [];
  const graph = new Map<string, SimulatedImage>();
  const pick = (names: readonly string[] = []) => names[Math.floor(random() * names.length)] ?? [];
  for (let number = 0; number < images; number++) {
    const level = number < 40 ? number : 3 + Math.floor(37 * random() ** 2);
    const name = `p${number}`;
    const wanted = level === 0 ? 0 : 1 + Math.floor(12 * random());
    const lower = Array.from({ length: wanted }, () => pick(levels[Math.floor(level * random())]));
    const dependencies = [...new Set([levels[level - 1]?.[0] ?? [], ...lower].flat())];
    levels[level] = [...(levels[level] ?? []), name];
    const seconds = 60 * Math.exp(1.2 * normal(name));
    graph.set(name, { dependencies, platforms: ["linux/amd64"], seconds });
  }
  return graph;
}

/**
 * Returns a number that is normally distributed over all texts and always the same for one text
 * (Box and Muller).
 */
function normal(text: string): number {
  const hash = createHash("sha256").update(text).digest();
  const [a, b] = [hash.readUInt32LE(0), hash.readUInt32LE(4)].map((bits) => (bits + 0.5) / 2 ** 32);
  return Math.sqrt(-2 * Math.log(a ?? 0.5)) * Math.cos(2 * Math.PI * (b ?? 0.5));
}
