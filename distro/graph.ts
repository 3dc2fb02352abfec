/** A node of the graph: anything with the names of its dependencies. */
export type GraphNode = { readonly dependencies: readonly string[] };

/**
 * Returns the level of each image: 0 without dependencies, else one more than the highest of them.
 * Images of a cycle, and their dependents, have none. Dependencies outside the graph do not count.
 */
export function levelsOf(graph: ReadonlyMap<string, GraphNode>): Map<string, number> {
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

/** Sorts images by level, then by name: each follows its dependencies. Leaves out cycles. */
export function sortTopologically<T extends GraphNode>(graph: ReadonlyMap<string, T>): Map<string, T> {
  const levels = levelsOf(graph);
  const level = (name: string) => levels.get(name) ?? 0;
  return new Map(
    [...graph]
      .filter(([name]) => levels.has(name))
      .sort(([left], [right]) => level(left) - level(right) || (left < right ? -1 : 1)),
  );
}

/** Returns the direct dependents of each image; every image of the graph has an entry. */
export function dependentsOf(graph: ReadonlyMap<string, GraphNode>): Map<string, string[]> {
  const dependents = new Map<string, string[]>([...graph.keys()].map((name) => [name, []]));
  for (const [name, node] of graph) {
    for (const dependency of known(graph, node)) dependents.get(dependency)?.push(name);
  }
  return dependents;
}

/** Returns images with all dependencies, direct or not. Leaves out names outside the graph. */
export function dependencyClosure(
  graph: ReadonlyMap<string, GraphNode>,
  names: Iterable<string>,
): Set<string> {
  const closure = new Set<string>();
  const open = [...names];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const node = graph.get(name);
    if (node === undefined || closure.has(name)) continue;
    closure.add(name);
    for (const dependency of node.dependencies) open.push(dependency);
  }
  return closure;
}

/** Finds the cycles, no image in two of them: dependency paths from the least name back to it. */
export function findCycles(graph: ReadonlyMap<string, GraphNode>): string[][] {
  const left = new CyclicImages(graph);
  const cycles: string[][] = [];
  // The search continues from where a cycle was taken out of the path, so that no step is repeated.
  const path: string[] = [];
  const positions = new Map<string, number>();
  const step = (name: string) => positions.set(name, path.push(name) - 1);
  for (const start of left.names()) {
    if (left.has(start)) step(start);
    for (let at = path.at(-1); at !== undefined; at = path.at(-1)) {
      const next = left.leastDependencyOf(at);
      const cycleStart = positions.get(next);
      if (cycleStart === undefined) {
        step(next);
        continue;
      }
      const cycle = path.slice(cycleStart);
      cycles.push(fromLeast(cycle));
      left.remove(cycle);
      // An image stays on the path as long as the next one does.
      for (let last = path.at(-1); last !== undefined && !left.has(last); last = path.at(-1)) {
        positions.delete(last);
        path.pop();
      }
    }
  }
  return cycles.sort(([left = ""], [right = ""]) => (left < right ? -1 : 1));
}

/** The images without a level. Each waits for another, so any dependency leads into a cycle. */
class CyclicImages {
  /** The number of remaining dependencies of each remaining image. */
  readonly #waiting = new Map<string, number>();
  readonly #dependents: ReadonlyMap<string, readonly string[]>;
  readonly #sorted = new Map<string, { readonly names: readonly string[]; next: number }>();

  constructor(graph: ReadonlyMap<string, GraphNode>) {
    const cyclic = without(graph, new Set(levelsOf(graph).keys()));
    this.#dependents = dependentsOf(cyclic);
    for (const [name, node] of cyclic) {
      const names = [...known(cyclic, node)].sort();
      this.#waiting.set(name, names.length);
      this.#sorted.set(name, { names, next: 0 });
    }
  }

  /** Returns all images of the start, sorted. */
  names(): string[] {
    return [...this.#sorted.keys()].sort();
  }

  has(name: string): boolean {
    return this.#waiting.has(name);
  }

  leastDependencyOf(name: string): string {
    const own = this.#sorted.get(name);
    while (own !== undefined && !this.has(own.names[own.next] ?? name)) own.next++;
    return own?.names[own.next] ?? name;
  }

  /** Removes images, and with them all images that no longer wait for another. */
  remove(names: readonly string[]): void {
    const open = [...names];
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      if (!this.#waiting.delete(name)) continue;
      for (const dependent of this.#dependents.get(name) ?? []) {
        const waiting = this.#waiting.get(dependent);
        if (waiting === undefined) continue;
        this.#waiting.set(dependent, waiting - 1);
        if (waiting === 1) open.push(dependent);
      }
    }
  }
}

function fromLeast(cycle: readonly string[]): string[] {
  const least = cycle.indexOf([...cycle].sort()[0] ?? "");
  return [...cycle.slice(least), ...cycle.slice(0, least), cycle[least] ?? ""];
}

/** Returns the images with all their dependents, direct or not. */
export function withDependents(
  dependents: ReadonlyMap<string, readonly string[]>,
  names: Iterable<string>,
): Set<string> {
  // The loop also visits images that it adds to the set.
  const reached = new Set(names);
  for (const name of reached) for (const dependent of dependents.get(name) ?? []) reached.add(dependent);
  return reached;
}

function known(graph: ReadonlyMap<string, GraphNode>, node: GraphNode | undefined): readonly string[] {
  const names = node?.dependencies ?? [];
  const isWhole = names.every((name) => graph.has(name)) && new Set(names).size === names.length;
  return isWhole ? names : [...new Set(names)].filter((name) => graph.has(name));
}

function without(graph: ReadonlyMap<string, GraphNode>, names: ReadonlySet<string>): Map<string, GraphNode> {
  return new Map([...graph].filter(([name]) => !names.has(name)));
}
