import { readFileSync } from "node:fs";
import { CustomResource, type Output } from "@pulumi/pulumi";

/** A resource without work. A graph of them shows the cost of the engine and its Node.js SDK. */
class Thing extends CustomResource {
  declare readonly digest: Output<string>;
  constructor(name: string, dependencies: Record<string, Output<string>>) {
    super("empty:index:Thing", name, { digest: undefined, dependencies });
  }
}

const graph = JSON.parse(readFileSync("graph.json", "utf8")) as Record<string, string[]>;
const things = new Map<string, Thing>();
for (const [name, dependencies] of Object.entries(graph)) {
  const digests = dependencies.flatMap((dependency) => {
    const thing = things.get(dependency);
    return thing ? [[dependency, thing.digest] as const] : [];
  });
  things.set(name, new Thing(name, Object.fromEntries(digests)));
}
