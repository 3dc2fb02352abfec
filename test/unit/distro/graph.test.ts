import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  dependencyClosure,
  dependentsOf,
  findCycles,
  type GraphNode,
  levelsOf,
  sortTopologically,
} from "../../../distro/graph.ts";
import { resolveImageNames, selectImages } from "../../../distro/image-names.ts";

function graphOf(edges: Readonly<Record<string, readonly string[]>>) {
  return new Map(Object.entries(edges).map(([name, dependencies]) => [name, { dependencies }]));
}

const diamond = graphOf({
  top: ["left", "right"],
  left: ["base"],
  right: ["base", "gone"],
  base: [],
  alone: [],
});

/** Acyclic: each image is built from images of lower numbers only. */
const acyclic = fc
  .array(fc.array(fc.nat(), { maxLength: 4 }), { maxLength: 30 })
  .map((rows) =>
    graphOf(
      Object.fromEntries(
        rows.map((row, index) => [`n${index}`, index === 0 ? [] : row.map((number) => `n${number % index}`)]),
      ),
    ),
  );

describe("order", () => {
  test("sorts by level, then by name", () => {
    expect(Object.fromEntries(levelsOf(diamond))).toEqual({ alone: 0, base: 0, left: 1, right: 1, top: 2 });
    expect([...sortTopologically(diamond).keys()]).toEqual(["alone", "base", "left", "right", "top"]);
  });

  test("places each image after its dependencies, whatever the order of the map", () => {
    fc.assert(
      fc.property(acyclic, fc.infiniteStream(fc.nat()), (graph, random) => {
        const order = [...sortTopologically(graph).keys()];
        for (const [name, { dependencies }] of graph) {
          for (const dependency of dependencies)
            expect(order.indexOf(dependency)).toBeLessThan(order.indexOf(name));
        }
        const keyed = [...graph].map((entry) => [random.next().value, entry] as const);
        const shuffled = new Map(keyed.sort(([left], [right]) => left - right).map(([, entry]) => entry));
        expect([...sortTopologically(shuffled).keys()]).toEqual(order);
        expect(order.length).toBe(graph.size);
        expect(findCycles(graph)).toEqual([]);
      }),
    );
  });

  test("sorts a chain of 20,000 images", () => {
    const names = Array.from({ length: 20_000 }, (_, index) => `n${index}`);
    const chain = new Map(
      names.map((name, index) => [name, { dependencies: names.slice(index + 1, index + 2) }]),
    );
    expect(levelsOf(chain).get("n0")).toBe(19_999);
    expect(dependencyClosure(chain, ["n0"]).size).toBe(20_000);
  });
});

test("returns the dependents of each image", () => {
  expect(Object.fromEntries(dependentsOf(diamond))).toEqual({
    top: [],
    left: ["top"],
    right: ["top"],
    base: ["left", "right"],
    alone: [],
  });
});

describe("cycles", () => {
  test("are paths from the least name back to it, without images that only lead into one", () => {
    const graph = graphOf({
      z: ["c"],
      c: ["a"],
      a: ["b"],
      b: ["c", "base"],
      self: ["self"],
      base: [],
    });
    expect(findCycles(graph)).toEqual([
      ["a", "b", "c", "a"],
      ["self", "self"],
    ]);
    expect([...sortTopologically(graph).keys()]).toEqual(["base"]);
  });

  test("have only edges of the graph", () => {
    const anyGraph = fc
      .array(fc.array(fc.nat(9), { maxLength: 3 }), { minLength: 10, maxLength: 10 })
      .map((rows) =>
        graphOf(
          Object.fromEntries(rows.map((row, index) => [`n${index}`, row.map((number) => `n${number}`)])),
        ),
      );
    fc.assert(
      fc.property(anyGraph, (graph) => {
        const cycles = findCycles(graph);
        expect(cycles.length === 0).toBe(sortTopologically(graph).size === graph.size);
        for (const cycle of cycles) {
          expect(cycle.at(-1)).toBe(cycle[0]);
          for (const [index, name] of cycle.slice(0, -1).entries()) {
            expect(graph.get(name)?.dependencies).toContain(cycle[index + 1]);
          }
        }
      }),
    );
  });
});

describe("chosen images", () => {
  test("include their dependencies, in the order of the map", () => {
    const ordered = sortTopologically(diamond);
    const names = (patterns?: string[]) => {
      const chosen = new Set(selectImages(ordered, patterns));
      return [...ordered].filter(([, node]) => chosen.has(node)).map(([name]) => name);
    };
    expect(names(["left"])).toEqual(["base", "left"]);
    expect(names(["a*", "?ase"])).toEqual(["alone", "base"]);
    expect(names()).toEqual(["alone", "base", "left", "right", "top"]);
    expect(selectImages(ordered, ["left"])).toEqual([ordered.get("base"), ordered.get("left")]);
  });

  test("reject all unknown names at once, with the nearest of each", () => {
    expect(() => resolveImageNames(diamond, ["rigth", "top", "q*"])).toThrow(
      'no image "rigth"; the nearest is right\nno image "q*"',
    );
  });

  test("appear once each", () => {
    expect(resolveImageNames(diamond, ["base", "b*", "base"])).toEqual(["base"]);
  });
});

/** Finds the same cycles by a new search after each, from the least remaining name. */
function cyclesOneByOne(graph: ReadonlyMap<string, GraphNode>): string[][] {
  const cycles: string[][] = [];
  const without = (from: ReadonlyMap<string, GraphNode>, names: ReadonlySet<string>) =>
    new Map([...from].filter(([name]) => !names.has(name)));
  const cyclic = (from: ReadonlyMap<string, GraphNode>) => without(from, new Set(levelsOf(from).keys()));
  for (let left = cyclic(graph); left.size > 0; ) {
    const path: string[] = [];
    let name = [...left.keys()].sort()[0] ?? "";
    while (!path.includes(name)) {
      path.push(name);
      const next: readonly string[] = left.get(name)?.dependencies ?? [];
      name = next.filter((each) => left.has(each)).sort()[0] ?? "";
    }
    const cycle = path.slice(path.indexOf(name));
    const least = cycle.indexOf([...cycle].sort()[0] ?? "");
    cycles.push([...cycle.slice(least), ...cycle.slice(0, least), cycle[least] ?? ""]);
    left = cyclic(without(left, new Set(cycle)));
  }
  return cycles.sort(([left = ""], [right = ""]) => (left < right ? -1 : 1));
}

test("findCycles finds the same cycles as a search that starts anew after each", () => {
  const name = fc.constantFrom(..."abcdefgh");
  const nodes = fc.dictionary(name, fc.record({ dependencies: fc.array(name, { maxLength: 4 }) }), {
    maxKeys: 8,
  });
  fc.assert(
    fc.property(nodes, (nodes) => {
      const graph = new Map(Object.entries(nodes));
      expect(findCycles(graph)).toEqual(cyclesOneByOne(graph));
    }),
    { numRuns: 2000 },
  );
});
