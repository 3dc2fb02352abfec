import { readTree, type Tree } from "../../distro/tree.ts";
import { openTree, parseTreeAddress } from "../../sources/tree-checkout.ts";
import type { Places } from "../../tools/places.ts";
import type { StagexConfig } from "./config.ts";

/** Reads the tree that `stagex:tree` names; one in git is checked out first. */
export async function configuredTree(config: StagexConfig, places: Places): Promise<Tree> {
  const address = parseTreeAddress(config.tree, places.project);
  return await readTree(await openTree(address, places.trees), { platforms: config.platforms });
}
