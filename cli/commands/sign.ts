import { Command } from "commander";
import { TrustError } from "../../trust/trust-error.ts";
import { CommandError, exitCode } from "../output/exit-code.ts";
import { exportKit } from "../sign/export-kit.ts";
import { importKit } from "../sign/import-kit.ts";
import { signKit } from "../sign/sign-kit.ts";
import type { SignableOptions } from "../sign/signable-images.ts";

/** `stagex sign`: signs images with a key that is on another machine than the builds. */
export function signCommand(): Command {
  return new Command("sign")
    .description(
      "Signs what was built here with a key on another machine. export writes everything that is still unsigned to one file, a kit. " +
        "On the machine with the key, run signs the kit; its own sign.sh does so with gpg alone. import verifies the signatures and " +
        "adds them to the lookaside.",
    )
    .addCommand(
      addStackOptions(new Command("export").summary("write everything that is still unsigned to one file"))
        .description(
          "Writes a kit with a payload for each manifest that was built here and that the person has not signed.\n" +
            "Exits 0 if a kit was written or nothing is left to sign, 1 if no image was built here.",
        )
        .requiredOption("--out <file>", "the kit, a tar file")
        .action((options: SignableOptions & { out: string }) => setExitCode(exportKit(options))),
    )
    .addCommand(
      new Command("run")
        .summary("sign a kit on the machine with the key")
        .description(
          "Signs a kit on any machine with this checkout. The tree, the roster and the engine are not needed. Existing signatures " +
            "stay, and an interrupted run keeps the signatures that it has made. Exits 0 if all is signed, else 1.",
        )
        .argument("<kit>", "the kit that stagex sign export wrote")
        .requiredOption(
          "--key <fingerprint or file>",
          "the key: a fingerprint, for gpg-agent and smart cards, or a file with the private key",
        )
        .option("--out <file>", "the signed kit (default: the kit itself)")
        .action((kit: string, options: { key: string; out?: string }) => setExitCode(signKit(kit, options))),
    )
    .addCommand(
      addStackOptions(new Command("import").summary("verify signatures and add them to the lookaside"))
        .description(
          "Adds the signatures of a signed kit to the lookaside. Each is verified first: it must be by a key of the person, over " +
            "exactly what was built here. Exits 0 if all count, 1 if any was left out; prints the reason for each.",
        )
        .argument("<signed>", "the signed kit, by stagex sign run or sign.sh")
        .action((signed: string, options: SignableOptions) => setExitCode(importKit(signed, options))),
    );
}

function addStackOptions(command: Command): Command {
  return command
    .option("--stack <name>", "the stack whose images are signed, and whose configuration is used", "dev")
    .option(
      "--digests <files...>",
      "sign only the images in these files, such as StageX's digests/*.txt, in the stack or not",
    )
    .option("--person <id>", "id of the signer in MAINTAINERS (default: stagex:attest)");
}

/** Reports a missing or unreadable roster, key or kit as a usage error. */
async function setExitCode(answer: Promise<number>): Promise<void> {
  try {
    process.exitCode = await answer;
  } catch (error) {
    if (!(error instanceof TrustError)) throw error;
    throw new CommandError(error.message, exitCode.usage);
  }
}
