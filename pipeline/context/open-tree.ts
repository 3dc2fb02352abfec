import { resolve } from "node:path";
import type { StagexConfig } from "../../config/schema.ts";
import { readTree, type Tree } from "../../distro/tree/tree.ts";
import type { Paths } from "../../lib/paths.ts";
import type { AuthenticityPolicy } from "../../sources/tree/tree-authenticity.ts";
import { checkOutTree, parseTreeAddress } from "../../sources/tree/tree-checkout.ts";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import { readRoster } from "../../trust/quorum/roster-file.ts";
import { verifyTreeSignature } from "../../trust/quorum/tree-signature.ts";

/**
 * Reads the tree that `stagex:tree` names. A tree in git is checked out first and verified by
 * `stagex:authenticate`.
 */
export async function readConfiguredTree(config: StagexConfig, paths: Paths): Promise<Tree> {
  const address = parseTreeAddress(config.tree, paths.project);
  const authenticity = await configuredAuthenticity(config, paths);
  const folder = await checkOutTree(address, paths.trees, authenticity === undefined ? {} : { authenticity });
  return await readTree(folder, { platforms: config.platforms });
}

/**
 * Reads who must have signed the tree. The roster is the user's own: a tree could name any signers.
 */
async function configuredAuthenticity(
  { authenticate }: StagexConfig,
  paths: Paths,
): Promise<AuthenticityPolicy | undefined> {
  if (authenticate === undefined) return undefined;
  const { since } = authenticate;
  const roster = await readRoster(resolve(paths.project, authenticate.maintainers));
  const keyring = await Keyring.load(resolve(paths.project, authenticate.keys));
  return {
    since,
    requireSigned: async (signed) => void (await verifyTreeSignature(signed, { roster, keyring })),
  };
}
