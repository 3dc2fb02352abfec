import { join } from "node:path";
import { Command, Option } from "commander";
import { type PinnedImage, parsePinnedImage, repositoryOf } from "../trust/image-reference.ts";
import { Keyring } from "../trust/keyring.ts";
import { lookasideAt, readSignatures, type SignatureFile } from "../trust/lookaside.ts";
import { judge, type QuorumOutcome, type QuorumRule, wordsOf } from "../trust/quorum.ts";
import { rosterFile } from "../trust/roster-file.ts";
import { TrustError } from "../trust/trust-error.ts";
import { CommandError, exitCode } from "./exit-code.ts";
import { countOption, optionArgument } from "./option-argument.ts";

type Options = {
  image: PinnedImage;
  signatures: string;
  maintainers: string;
  keys: string;
  threshold: number;
  vendors: number;
  json?: true;
};

/** What `stagex verify --json` prints; other programs read it. */
export type ShownOutcome = Pick<QuorumOutcome, "met" | "people" | "vendors" | "rejected"> & {
  readonly accepted: readonly Pick<
    QuorumOutcome["accepted"][number],
    "file" | "person" | "fingerprint" | "cpuVendor"
  >[];
};

/** `stagex verify`: do enough maintainers say that this image is right? */
export function verifyCommand(): Command {
  return new Command("verify")
    .description(
      "Checks the maintainers' signatures of an image. Exits 0 at quorum, 1 below it, 2 where it can't tell.",
    )
    .addOption(
      new Option("--image <REPO:TAG@sha256:…>", "the image, by name and by its manifest's digest")
        .argParser(optionArgument(parsePinnedImage))
        .makeOptionMandatory(),
    )
    .requiredOption(
      "--signatures <where>",
      "a lookaside (folder or https), or the folder with the image's signature-N",
    )
    .requiredOption("--maintainers <file>", "the roster: StageX's MAINTAINERS")
    .requiredOption("--keys <folder>", "their public keys: a folder, or a file that gpg --export wrote")
    .addOption(countOption("--threshold <people>", "distinct people who must have signed", 2))
    .addOption(countOption("--vendors <count>", "distinct CPU vendors that they must have built on", 2))
    .option("--json", "{met, people, vendors, accepted, rejected}")
    .action(async (options: Options) => {
      const outcome = await answer(options).catch((error: unknown) => {
        if (!(error instanceof TrustError)) throw error;
        throw new CommandError(error.message, exitCode.usage);
      });
      process.stdout.write(
        options.json ? `${JSON.stringify(shown(outcome), null, 2)}\n` : page(outcome, options),
      );
      process.exitCode = outcome.met ? exitCode.ok : exitCode.no;
    });
}

async function answer({
  image,
  signatures,
  maintainers,
  keys,
  threshold,
  vendors,
}: Options): Promise<QuorumOutcome> {
  const roster = await rosterFile(maintainers);
  const keyring = await Keyring.load(keys);
  for (const { file, reason } of keyring.skipped)
    process.stderr.write(`stagex: ${join(keys, file)} is skipped: ${reason}\n`);
  return judge(image, await signaturesAt(signatures, image), { roster, keyring }, { threshold, vendors });
}

/** A lookaside has a folder for each image; where there are signature files at the place itself, it is that folder. */
async function signaturesAt(
  place: string,
  { reference, digest }: PinnedImage,
): Promise<readonly SignatureFile[]> {
  const isServer = /^https?:/.test(place);
  const own = isServer ? [] : await readSignatures(place);
  return own.length > 0 ? own : lookasideAt(place).read(repositoryOf(reference), digest);
}

function shown({ met, people, vendors, accepted, rejected }: QuorumOutcome): ShownOutcome {
  const counted = accepted.map(({ file, person, fingerprint, cpuVendor }) => ({
    file,
    person,
    fingerprint,
    cpuVendor,
  }));
  return { met, people, vendors, accepted: counted, rejected };
}

function page(outcome: QuorumOutcome, { image, threshold, vendors }: Options): string {
  const rule: QuorumRule = { threshold, vendors };
  const { met, accepted, rejected } = outcome;
  const lines = [
    `${image.reference}@${image.digest}`,
    ...accepted.map(
      ({ file, person, fingerprint, cpuVendor, note }) =>
        `  ${file}  ${person} (${fingerprint}), ${cpuVendor ?? `no vendor: ${note}`}`,
    ),
    ...rejected.map(({ file, code, reason }) => `  ${file}  does not count (${code}): ${reason}`),
    `${met ? "quorum" : "below quorum"}: ${wordsOf({ ...outcome, rejected: [] }, rule)}`,
  ];
  return `${lines.join("\n")}\n`;
}
