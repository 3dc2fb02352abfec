import { resolve } from "node:path";
import type { StagexConfig } from "../../config/schema.ts";
import { readTree, type Tree } from "../../distro/tree/tree.ts";
import type { Paths } from "../../lib/paths.ts";
import type { Authenticity } from "../../sources/tree/tree-authenticity.ts";
import { openTree, parseTreeAddress } from "../../sources/tree/tree-checkout.ts";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import { rosterFile } from "../../trust/quorum/roster-file.ts";
import { signerOf } from "../../trust/quorum/tree-signer.ts";

/** Reads the tree that `stagex:tree` names; one in git is checked out first, and held against `stagex:authenticate`. */
export async function configuredTree(config: StagexConfig, paths: Paths): Promise<Tree> {
  const address = parseTreeAddress(config.tree, paths.project);
  const authenticity = await configuredAuthenticity(config, paths);
  const folder = await openTree(address, paths.trees, authenticity === undefined ? {} : { authenticity });
  return await readTree(folder, { platforms: config.platforms });
}

/** Whose a tree must be. The roster is the user's own: a tree that names its own signers would be anybody's. */
async function configuredAuthenticity(
  { authenticate }: StagexConfig,
  paths: Paths,
): Promise<Authenticity | undefined> {
  if (authenticate === undefined) return undefined;
  const { since } = authenticate;
  const roster = await rosterFile(resolve(paths.project, authenticate.maintainers));
  const keyring = await Keyring.load(resolve(paths.project, authenticate.keys));
  return { since, mustBeSigned: async (signed) => void (await signerOf(signed, { roster, keyring })) };
}
