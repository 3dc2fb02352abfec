import type { Command } from "commander";
import { ImageNameError, resolveImageName } from "../../distro/image-names.ts";
import { Ledger } from "../../distro/ledger/ledger.ts";
import { readTree, type Tree } from "../../distro/tree/tree.ts";
import { pathsOf } from "../../lib/paths.ts";
import { printable } from "../../lib/text/printable.ts";
import {
  type BuildEvidence,
  type BuiltRecord,
  gatherBuildEvidence,
  NoEvidenceError,
} from "../../pipeline/statements/build-evidence.ts";
import { CommandError, exitCode } from "../output/exit-code.ts";

/** Options that select an image and the ledger that knows it. */
export type EvidenceOptions = {
  tree: string;
  ledger?: string;
  platforms?: string;
  signedAs: string;
  /** The key to sign the statement with. */
  sign?: string;
};

/** Adds the argument and the options that {@link gatherEvidence} reads. */
export function addEvidenceOptions(command: Command): Command {
  return command
    .argument("<image>", "an image of the tree: core-busybox")
    .option("--tree <folder>", "the StageX tree", ".")
    .option("--ledger <folder>", "the ledger (default: this checkout's own, and what was built in it)")
    .option("--platforms <list>", "platforms of packages that name none: linux/amd64,linux/arm64")
    .option("--signed-as <name>", "name before the image's in its signatures", "stagex");
}

/**
 * Gathers the evidence of how an image was built. A statement that is to be signed rests on this
 * checkout's own builds and on images at quorum alone: no one vouches for another's ledger.
 * @throws CommandError where the image is unknown, with the reason
 */
export async function gatherEvidence(
  image: string,
  { tree: root, ledger: folder, platforms, sign }: EvidenceOptions,
): Promise<{ tree: Tree; evidence: BuildEvidence }> {
  if (sign !== undefined && folder !== undefined)
    throw new CommandError(
      "--sign takes no --ledger: only this checkout's own builds may be signed. Leave --ledger out; to sign a build of another state folder, set STAGEX_STATE",
    );
  const tree = await readTree(root, platforms === undefined ? {} : { platforms: platforms.split(",") });
  const name = nameIn(tree, image);
  const paths = pathsOf();
  const ledger = new Ledger(folder ?? (sign === undefined ? paths.ledger : paths.agreed));
  const built = folder === undefined ? new Ledger(paths.built) : ledger;
  try {
    return { tree, evidence: await gatherBuildEvidence(tree, { ledger, built }, name) };
  } catch (error) {
    if (!(error instanceof NoEvidenceError)) throw error;
    throw new CommandError(error.message, exitCode.no);
  }
}

function nameIn(tree: Tree, image: string): string {
  try {
    return resolveImageName(tree.images, image);
  } catch (error) {
    if (!(error instanceof ImageNameError)) throw error;
    throw new CommandError(error.message, exitCode.no);
  }
}

/** Returns the record of the builder that was named, or the last record. */
export function chooseRecord({ records, plan }: BuildEvidence, builder: string | undefined): BuiltRecord {
  const chosen = records
    .filter(({ builder: { id } }) => builder === undefined || id === builder)
    .sort((a, b) => (a.finished < b.finished ? -1 : 1))
    .at(-1);
  if (chosen !== undefined) return chosen;
  const known = records.map(({ builder: { id } }) => id).join(", ");
  const who = builder === undefined ? "nobody" : `not ${builder}`;
  throw new CommandError(
    printable`how ${plan.name} was built is not known: ${who} is known to have built it here${known === "" ? "" : ` (but ${known})`}. Build it: npm start; or name the ledger that has it: --ledger`,
    exitCode.no,
  );
}
