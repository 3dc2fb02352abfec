import { join } from "node:path";
import { Command } from "commander";
import { printable, printableLines } from "../../lib/text/printable.ts";
import { print, printError } from "../../lib/text/terminal.ts";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import { createClientPolicy, writeClientPolicy } from "../../trust/quorum/client-policy.ts";
import { readRoster } from "../../trust/quorum/roster-file.ts";
import { TrustError } from "../../trust/trust-error.ts";
import { CommandError, exitCode } from "../output/exit-code.ts";
import { countOption } from "../output/option-argument.ts";

type Options = {
  maintainers: string;
  keys: string;
  threshold: number;
  repository: string;
  signedAs?: string;
  lookaside?: string;
  out: string;
};

/** `stagex policy`: lets podman and its kin ask for the quorum of people. */
export function policyCommand(): Command {
  return new Command("policy")
    .description(
      "Writes policy.json, keyrings and registries.d, with which podman, skopeo, buildah and CRI-O pull only what enough maintainers have signed.",
    )
    .requiredOption("--maintainers <file>", "the roster: StageX's MAINTAINERS")
    .requiredOption("--keys <folder>", "their public keys: a folder, or a file that gpg --export wrote")
    .addOption(countOption("--threshold <people>", "distinct people who must have signed", 2))
    .requiredOption(
      "--repository <name>",
      "what it is for: docker.io/stagex, registry.example/stagex/core-musl",
    )
    .option("--signed-as <name>", "how the signatures call it, where that is another name: docker.io/stagex")
    .option("--lookaside <url>", "where the signatures are: https://… or file:///…")
    .requiredOption("--out <folder>", "where the files go, and stay: the policy names its keyrings by path")
    .action(async (options: Options) => {
      try {
        await write(options);
      } catch (error) {
        if (!(error instanceof TrustError)) throw error;
        throw new CommandError(error.message, exitCode.usage);
      }
    });
}

async function write({
  maintainers,
  keys,
  threshold,
  repository,
  signedAs,
  lookaside,
  out,
}: Options): Promise<void> {
  const keyring = await Keyring.load(keys);
  for (const warning of keyring.warnings(keys)) printError(printable`stagex: ${warning}`);
  const inputs = {
    roster: await readRoster(maintainers),
    keyring,
    threshold,
    repository,
    ...(signedAs === undefined ? {} : { signedAs }),
    ...(lookaside === undefined ? {} : { lookaside }),
  };
  const policy = createClientPolicy(inputs, out);
  await writeClientPolicy(policy, out);
  const lines = [
    ...[...policy.files.keys()].map((file) => printable`${join(out, file)}`),
    printable`${threshold} of ${policy.people.length} people (${policy.people.join(", ")}), ${policy.requirements} requirements`,
    ...(policy.peopleWithoutKeys.length > 0
      ? [printable`no key at hand of ${policy.peopleWithoutKeys.join(", ")}: their signatures don't count`]
      : []),
    printable`try: skopeo --policy ${join(out, "policy.json")} --registries.d ${join(out, "registries.d")} copy docker://${repository}… dir:pulled`,
  ];
  print(printableLines(lines));
}
