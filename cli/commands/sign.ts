import { Command } from "commander";
import { TrustError } from "../../trust/trust-error.ts";
import { CommandError, exitCode } from "../output/exit-code.ts";
import { exportKit } from "../sign/export-kit.ts";
import { importKit } from "../sign/import-kit.ts";
import { signKit } from "../sign/sign-kit.ts";
import type { SignableOptions } from "../sign/signable-images.ts";

/** `stagex sign`: attestations by a key that is on another machine than the builds are. */
export function signCommand(): Command {
  return new Command("sign")
    .description(
      "Signs what was built here with a key that is elsewhere. export writes what is left to sign as one file, a kit; on the " +
        "machine with the key, run signs it, or the kit's own sign.sh with nothing but gpg; import verifies and files what comes back.",
    )
    .addCommand(
      addStackOptions(new Command("export").summary("writes what is left to sign as one file"))
        .description(
          "Writes a kit with a payload for each manifest that was built here and that the person has not signed yet.\n" +
            "Exits 0 with a kit, or where nothing is left to sign; 1 where nothing of it was built here.",
        )
        .requiredOption("--out <file>", "the kit, a tar file")
        .action((options: SignableOptions & { out: string }) => setExitCode(exportKit(options))),
    )
    .addCommand(
      new Command("run")
        .summary("signs such a file, on another machine")
        .description(
          "Signs a kit, on any machine with this checkout: the tree, the roster and the engine are not needed. What is signed " +
            "already stays; interrupted, it keeps what it has. Exits 0 where all is signed, else 1.",
        )
        .argument("<kit>", "what stagex sign export wrote")
        .requiredOption(
          "--key <fingerprint or file>",
          "the key: its fingerprint, for gpg-agent (smart cards too), or a file with it",
        )
        .option("--out <file>", "where the signed kit goes; into the kit itself where not given")
        .action((kit: string, options: { key: string; out?: string }) => setExitCode(signKit(kit, options))),
    )
    .addCommand(
      addStackOptions(new Command("import").summary("verifies what comes back, and files it"))
        .description(
          "Files the signatures of a signed kit in the lookaside. Each is verified first: by a key of the person, over exactly what " +
            "was built here. Exits 0 where all count, 1 where one was left out, each of them with its reason.",
        )
        .argument("<signed>", "what stagex sign run or sign.sh wrote")
        .action((signed: string, options: SignableOptions) => setExitCode(importKit(signed, options))),
    );
}

function addStackOptions(command: Command): Command {
  return command
    .option("--stack <name>", "the stack whose images are attested, and whose settings are used", "dev")
    .option(
      "--digests <files...>",
      "only these, of StageX's digests/*.txt, whether the stack has them or not",
    )
    .option("--person <id>", "who signs, by their id in MAINTAINERS; stagex:attest where not given");
}

/** What can't be answered for want of a roster, a key or a kit is a wrong question, and no fault of ours. */
async function setExitCode(answer: Promise<number>): Promise<void> {
  try {
    process.exitCode = await answer;
  } catch (error) {
    if (!(error instanceof TrustError)) throw error;
    throw new CommandError(error.message, exitCode.usage);
  }
}
