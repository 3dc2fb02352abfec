import { join } from "node:path";
import { Command } from "commander";
import { printable, printableLines } from "../../lib/text/printable.ts";
import { print, printError } from "../../lib/text/terminal.ts";
import { createClientPolicy, writeClientPolicy } from "../../trust/client-policy/podman-policy.ts";
import { Keyring } from "../../trust/openpgp/keyring.ts";
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

/** `stagex policy`: makes podman, skopeo, buildah and CRI-O require the quorum of people. */
export function policyCommand(): Command {
  return new Command("policy")
    .description(
      "Writes policy.json, keyrings and registries.d. With them podman, skopeo, buildah and CRI-O pull only images that enough maintainers have signed.",
    )
    .requiredOption("--maintainers <file>", "the roster: StageX's MAINTAINERS")
    .requiredOption("--keys <folder>", "their public keys: a folder, or a file that gpg --export wrote")
    .addOption(countOption("--threshold <people>", "distinct people who must have signed", 2))
    .requiredOption(
      "--repository <name>",
      "the repositories that it applies to: docker.io/stagex, registry.example/stagex/core-musl",
    )
    .option("--signed-as <name>", "their name in the signatures, if it is another: docker.io/stagex")
    .option("--lookaside <url>", "the lookaside with the signatures: https://… or file:///…")
    .requiredOption(
      "--out <folder>",
      "the folder for the files; it must stay, since the policy names its keyrings by path",
    )
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
