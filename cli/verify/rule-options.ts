import { join } from "node:path";
import type { Command } from "commander";
import { printable } from "../../lib/text/printable.ts";
import { printError } from "../../lib/text/terminal.ts";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import type { QuorumRule, Trust } from "../../trust/quorum/quorum.ts";
import { readRoster } from "../../trust/quorum/roster-file.ts";
import { CommandError } from "../output/exit-code.ts";
import { countOption } from "../output/option-argument.ts";

/** Whose signatures count, and how many there must be, as a command line says it. */
export type RuleOptions = QuorumRule & {
  signatures: string;
  maintainers?: string;
  keys?: string;
  /** Has a roster, and maybe keys, for who names none. */
  tree?: string;
};

/** Adds the options that {@link loadTrust} reads. */
export function addRuleOptions(command: Command): Command {
  return command
    .requiredOption(
      "--signatures <where>",
      "a lookaside (folder or https), or the folder with the image's signature-N",
    )
    .option("--maintainers <file>", "the roster: StageX's MAINTAINERS; by default that of --tree")
    .option(
      "--keys <folder>",
      "their public keys: a folder, or a file that gpg --export wrote; by default keys/ of --tree",
    )
    .addOption(countOption("--threshold <people>", "distinct people who must have signed", 2))
    .addOption(
      countOption(
        "--vendors <count>",
        "distinct CPU vendors that they must have built on, each of them another person's",
        2,
      ),
    );
}

/**
 * The roster and the keys. What is skipped among the keys is said on stderr.
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
  throw new CommandError(`whose signatures count? Give ${option}, or a --tree that has ${name}`);
}
