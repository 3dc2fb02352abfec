import { printable } from "../lib/printable.ts";
import { glob } from "./glob.ts";
import { nearestName } from "./nearest-name.ts";

/** What a graph is made of: anything with the names of what it is built from. */
export type Node = { readonly dependencies: readonly string[] };

/** Names that no image has; the message names the nearest that there is. */
export class UnknownImageError extends Error {
  override readonly name = "UnknownImageError";
}

/**
 * The level of each image: 0 for one that is built from nothing, else one more than the highest of its dependencies.
 * Images of a cycle, and those built from them, have none. Dependencies that are not in the graph do not count.
 */
export function levelsOf(graph: ReadonlyMap<string, Node>): Map<string, number> {
  const dependents = dependentsOf(graph);
  const waiting = new Map<string, number>();
  for (const [name, node] of graph) waiting.set(name, known(graph, node).length);
  const levels = new Map<string, number>();
  let level = [...graph.keys()].filter((name) => waiting.get(name) === 0);
  for (let depth = 0; level.length > 0; depth++) {
    const next: string[] = [];
    for (const name of level) {
      levels.set(name, depth);
      for (const dependent of dependents.get(name) ?? []) {
        const left = (waiting.get(dependent) ?? 0) - 1;
        waiting.set(dependent, left);
        if (left === 0) next.push(dependent);
      }
    }
    level = next;
  }
  return levels;
}

/** The same images, each after all that it is built from: by level, then by name. Images of a cycle are left out. */
export function inOrder<T extends Node>(graph: ReadonlyMap<string, T>): Map<string, T> {
  const levels = levelsOf(graph);
  const level = (name: string) => levels.get(name) ?? 0;
  return new Map(
    [...graph]
      .filter(([name]) => levels.has(name))
      .sort(([left], [right]) => level(left) - level(right) || (left < right ? -1 : 1)),
  );
}

/** The images that are built from each image directly; every image of the graph has an entry. */
export function dependentsOf(graph: ReadonlyMap<string, Node>): Map<string, string[]> {
  const dependents = new Map<string, string[]>([...graph.keys()].map((name) => [name, []]));
  for (const [name, node] of graph) {
    for (const dependency of known(graph, node)) dependents.get(dependency)?.push(name);
  }
  return dependents;
}

/** The images and all that they are built from. Names that the graph does not have are left out. */
export function closureOf(graph: ReadonlyMap<string, Node>, names: Iterable<string>): Set<string> {
  const closure = new Set<string>();
  const open = [...names];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const node = graph.get(name);
    if (node === undefined || closure.has(name)) continue;
    closure.add(name);
    open.push(...node.dependencies);
  }
  return closure;
}

/**
 * The cycles of the graph, no image in two of them: each a path from an image to what it is built from, and so on, back
 * to itself. It starts with the least name, and ends with it again.
 */
export function cyclesOf(graph: ReadonlyMap<string, Node>): string[][] {
  const cycles: string[][] = [];
  let left = without(graph, new Set(levelsOf(graph).keys()));
  while (left.size > 0) {
    const cycle = someCycle(left);
    cycles.push([...cycle, cycle[0] ?? ""]);
    const rest = without(left, new Set(cycle));
    left = without(rest, new Set(levelsOf(rest).keys()));
  }
  return cycles.sort(([left = ""], [right = ""]) => (left < right ? -1 : 1));
}

/** In a graph where every image waits for another, following any dependency leads into a cycle. */
function someCycle(graph: ReadonlyMap<string, Node>): string[] {
  const path: string[] = [];
  let name = [...graph.keys()].sort()[0] ?? "";
  while (!path.includes(name)) {
    path.push(name);
    name = [...known(graph, graph.get(name))].sort()[0] ?? "";
  }
  const cycle = path.slice(path.indexOf(name));
  const least = cycle.indexOf([...cycle].sort()[0] ?? "");
  return [...cycle.slice(least), ...cycle.slice(0, least)];
}

/**
 * The chosen images and all that they are built from, in the order of the map (a tree's is that of dependency).
 * @param patterns names or globs (`core-*`, `user-?pp`); all images where there are none
 * @throws UnknownImageError if a pattern fits no image
 */
export function chooseImages<T extends Node>(
  images: ReadonlyMap<string, T>,
  patterns?: readonly string[],
): T[] {
  if (patterns === undefined) return [...images.values()];
  const closure = closureOf(images, namesLike(images, patterns));
  return [...images].flatMap(([name, image]) => (closure.has(name) ? [image] : []));
}

/**
 * The names that any of the patterns fits, in the order of the patterns and then of the map, each once.
 * @throws UnknownImageError that names every pattern that fits none
 */
export function namesLike(images: ReadonlyMap<string, unknown>, patterns: readonly string[]): string[] {
  const names = [...images.keys()];
  const unknown: string[] = [];
  const chosen = patterns.flatMap((pattern) => {
    const fit = glob(pattern);
    const fitting = images.has(pattern) ? [pattern] : names.filter((name) => fit.test(name));
    if (fitting.length === 0) unknown.push(pattern);
    return fitting;
  });
  if (unknown.length > 0)
    throw new UnknownImageError(unknown.map((name) => unknownText(name, names)).join("\n"));
  return [...new Set(chosen)];
}

function unknownText(name: string, names: readonly string[]): string {
  const nearest = nearestName(name, names);
  return printable`no image ${JSON.stringify(name)}${nearest === undefined ? "" : `; the nearest is ${nearest}`}`;
}

function known(graph: ReadonlyMap<string, Node>, node: Node | undefined): readonly string[] {
  return [...new Set(node?.dependencies)].filter((name) => graph.has(name));
}

function without(graph: ReadonlyMap<string, Node>, names: ReadonlySet<string>): Map<string, Node> {
  return new Map([...graph].filter(([name]) => !names.has(name)));
}
