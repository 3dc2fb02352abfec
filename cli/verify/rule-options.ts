import { join } from "node:path";
import type { Command } from "commander";
import { printable } from "../../lib/text/printable.ts";
import { printError } from "../../lib/text/terminal.ts";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import type { QuorumRule, Trust } from "../../trust/quorum/quorum.ts";
import { readRoster } from "../../trust/quorum/roster-file.ts";
import { CommandError } from "../output/exit-code.ts";
import { countOption } from "../output/option-argument.ts";

/** Options for the roster, the keys and the quorum rule. */
export type RuleOptions = QuorumRule & {
  signatures: string;
  maintainers?: string;
  keys?: string;
  /** The StageX tree: its MAINTAINERS and keys/ are the defaults. */
  tree?: string;
};

/** Adds the options that {@link loadTrust} reads. */
export function addRuleOptions(command: Command): Command {
  return command
    .requiredOption(
      "--signatures <where>",
      "a lookaside (folder or https), or the folder with the image's signature-N",
    )
    .option("--maintainers <file>", "the roster: a MAINTAINERS file (default: that of --tree)")
    .option(
      "--keys <folder>",
      "the maintainers' public keys: a folder, or a file by gpg --export (default: keys/ of --tree)",
    )
    .addOption(countOption("--threshold <people>", "people who must have signed", 2))
    .addOption(
      countOption("--vendors <count>", "CPU vendors that they must have built on, each by another person", 2),
    );
}

/**
 * Loads the roster and the keys, and warns on stderr of key files that are skipped.
 * @throws TrustError where either can't be read
 */
export async function loadTrust({ maintainers, keys, tree }: RuleOptions): Promise<Trust> {
  const rosterPlace = maintainers ?? placeIn(tree, "MAINTAINERS", "--maintainers <file>");
  const keysPlace = keys ?? placeIn(tree, "keys", "--keys <folder>");
  const roster = await readRoster(rosterPlace);
  const keyring = await Keyring.load(keysPlace);
  for (const warning of keyring.warnings(keysPlace)) printError(printable`stagex: ${warning}`);
  return { roster, keyring };
}

function placeIn(tree: string | undefined, name: string, option: string): string {
  if (tree !== undefined) return join(tree, name);
  throw new CommandError(`no roster or keys: give ${option}, or a --tree that has ${name}`);
}
