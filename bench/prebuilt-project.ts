import { rm } from "node:fs/promises";
import { join } from "node:path";
import { Ledger } from "../distro/ledger/ledger.ts";
import { inputKeyOf, inputsOfPlan } from "../distro/plan/image-inputs.ts";
import { readTree } from "../distro/tree/tree.ts";
import { pathsOf } from "../lib/paths.ts";
import type { Digest } from "../oci/digest.ts";
import { Store } from "../oci/store/store.ts";
import { writeLayout } from "../test/support/builders/image-layout.ts";

/**
 * Gives a project a store and a ledger with every image of a tree, small but complete. So an `up`
 * needs no builder, and the provider's own work is measured.
 */
export async function prebuildProject(
  project: string,
  treeFolder: string,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const paths = pathsOf(project);
  const [store, ledger, tree] = [
    await Store.open(paths.store),
    new Ledger(paths.ledger),
    await readTree(treeFolder),
  ];
  const references = new Map<string, Digest>();
  for (const plan of tree.images.values()) {
    const layout = join(paths.scratch, "furnish");
    const layers = [[{ name: "name", content: plan.name }]];
    await writeLayout(layout, {
      platforms: Object.fromEntries(plan.platforms.map((platform) => [platform, { layers }])),
    });
    const image = await store.adopt(layout);
    await rm(layout, { recursive: true });
    const [first] = image.manifests;
    if (!first) throw new Error(`${plan.name} has no platform`);
    references.set(plan.name, image.manifests.length > 1 ? image.index : first.digest);
    const dependencies = Object.fromEntries(
      plan.dependencies.map((name) => [name, references.get(name) ?? first.digest]),
    );
    await ledger.append({
      inputKey: inputKeyOf({ ...inputsOfPlan(plan), dependencies }),
      image: plan.name,
      digests: {
        index: image.index,
        platforms: Object.fromEntries(image.manifests.map(({ platform, digest }) => [platform, digest])),
      },
      builder: { id: "bench", facts: null },
      seconds: 1,
      outcome: "built",
      finished: "2026-01-01T00:00:00.000Z",
    });
  }
  return new Map([...tree.images].map(([name, { dependencies }]) => [name, dependencies]));
}
