import { Command, Option } from "commander";
import pLimit from "p-limit";
import { printable, printableJson } from "../../lib/text/printable.ts";
import { errorScreen, print, printError, redrawLine } from "../../lib/text/terminal.ts";
import type { StatementKind } from "../../pipeline/statements/image-statement.ts";
import { provideTool } from "../../tools/tool-resolver.ts";
import {
  type PinnedImage,
  parsePinnedImage,
  parseTaggedReference,
  repositoryOf,
} from "../../trust/signatures/image-reference.ts";
import { createLookaside } from "../../trust/signatures/lookaside.ts";
import { SignedStatements } from "../../trust/statements/signed-statements.ts";
import { TrustError } from "../../trust/trust-error.ts";
import { asUsageError, CommandError, exitCode } from "../output/exit-code.ts";
import { argumentParser } from "../output/option-argument.ts";
import { releaseRequests } from "../verify/release-requests.ts";
import { exitCodeOf, reportText, verifyResultJson } from "../verify/report.ts";
import { addRuleOptions, loadTrust, type RuleOptions } from "../verify/rule-options.ts";
import { verifySignaturesOnly } from "../verify/signatures-only.ts";
import { parseStatementKinds } from "../verify/statement-signers.ts";
import { type VerifyResult, type VerifySettings, verifyImage } from "../verify/verify-image.ts";
import { parseRequest, signedRepository, type VerifyRequest } from "../verify/verify-request.ts";

type Options = RuleOptions & {
  image?: PinnedImage;
  release?: string;
  registry: string;
  signedAs?: string;
  blobs: boolean;
  statements: readonly StatementKind[];
  json?: true;
};

/** How many images are looked at at once: they wait for the network more than for a core. */
const maxConcurrent = 4;

/** `stagex verify`: do enough maintainers say that these images are right, and are these the bytes they mean? */
export function verifyCommand(): Command {
  const command = new Command("verify")
    .description(
      "Checks that images are what enough maintainers have signed, down to the last blob. Exits 0 where all are, 1 where one is not, " +
        "2 where it can't tell of one.",
    )
    .argument(
      "[image...]",
      "NAME:TAG, NAME@sha256:…, NAME:TAG@sha256:…, or the folder of an OCI layout (out/core-sh)",
    )
    .addOption(
      new Option(
        "--image <REPO:TAG@sha256:…>",
        "one image, by name and by its manifest's digest: its signatures alone, no registry",
      ).argParser(argumentParser(parsePinnedImage)),
    )
    .option("--release <tag>", "every image that this release of --tree publishes in digests/*.txt")
    .option("--tree <folder>", "the StageX tree (required with --release)")
    .option("--registry <address>", "where the images of --release are pulled from", "docker.io/stagex")
    .option(
      "--signed-as <name>",
      "how the signatures call what stands before the image's name, where they are pulled from elsewhere: stagex",
    )
    .option(
      "--no-blobs",
      "look at manifests and signatures only, not at configs and layers, nor at what layers unpack to",
    )
    .addOption(
      new Option(
        "--statements <kinds>",
        "what somebody of the roster must have signed besides: provenance, sbom, or both with a comma; read in statements/ of the lookaside",
      )
        .argParser((text, before: readonly StatementKind[]) => [
          ...new Set([...before, ...argumentParser(parseStatementKinds)(text)]),
        ])
        .default([], "none"),
    )
    .option("--json", "a list with an object for each image and platform; of --image the object alone");
  return addRuleOptions(command).action(async (images: string[], options: Options) => {
    process.exitCode = await verify(images, options).catch((error: unknown) => {
      if (!(error instanceof TrustError)) throw error;
      throw new CommandError(error.message, exitCode.usage);
    });
  });
}

async function verify(images: readonly string[], options: Options): Promise<number> {
  const { image, release } = options;
  if ([image !== undefined, release !== undefined, images.length > 0].filter(Boolean).length !== 1) {
    throw new CommandError("which images? Give their names, or --release TAG, or --image REPO:TAG@sha256:…");
  }
  if (image !== undefined && options.statements.length > 0)
    throw new CommandError(
      "--image looks at one image's signatures alone; with --statements, name the image as an argument",
    );
  if (image !== undefined)
    return await verifySignaturesOnly(renameToSigned(image, options.signedAs), options);
  const requests = await requestsOf(images, options);
  const trust = await loadTrust(options);
  const { threshold, vendors, blobs, signatures } = options;
  const inspector: VerifySettings = {
    lookaside: createLookaside(signatures),
    trust,
    rule: { threshold, vendors },
    blobs,
    statements: new Map(options.statements.map((kind) => [kind, new SignedStatements(signatures, kind)])),
    unreachable: new Map(),
    registryClient: requests.every(({ source: place }) => "folder" in place)
      ? ""
      : (await provideTool("registry-client")).path,
  };
  const verdicts = await verifyAll(requests, inspector);
  print(options.json ? printableJson(verdicts.map(verifyResultJson)) : reportText(verdicts));
  return exitCodeOf(verdicts);
}

/** As its signatures call an image that is pulled from elsewhere. */
function renameToSigned({ reference, digest }: PinnedImage, signedAs: string | undefined): PinnedImage {
  const tag = reference.slice(reference.lastIndexOf(":"));
  try {
    return {
      reference: parseTaggedReference(`${signedRepository(repositoryOf(reference), signedAs)}${tag}`),
      digest,
    };
  } catch (error) {
    throw asUsageError(error);
  }
}

async function requestsOf(
  images: readonly string[],
  { release, tree, registry, signedAs }: Options,
): Promise<readonly VerifyRequest[]> {
  const named = signedAs === undefined ? {} : { signedAs };
  try {
    if (release === undefined) return images.map((image) => parseRequest(image, signedAs));
    if (tree === undefined) throw new CommandError("a release of which tree? Give --tree <folder>");
    return await releaseRequests({ release, tree, registry, ...named });
  } catch (error) {
    throw asUsageError(error);
  }
}

/** Several at once, the verdicts in the order of the requests. */
async function verifyAll(
  requests: readonly VerifyRequest[],
  inspector: VerifySettings,
): Promise<readonly VerifyResult[]> {
  const limit = pLimit(maxConcurrent);
  let done = 0;
  const inspecting = requests.map((request) =>
    limit(async () => {
      const verdicts = await verifyImage(request, inspector);
      done += 1;
      progress(done, requests.length, request.image);
      return verdicts;
    }),
  );
  return (await Promise.all(inspecting)).flat();
}

/** On stderr, for who waits: one line that is written over; where that can't be, a line now and then. */
function progress(done: number, all: number, image: string): void {
  if (all === 1) return;
  if (errorScreen.isTTY) redrawLine(done === all ? printable`` : printable`${done} of ${all}: ${image}`);
  else if (done % 100 === 0) printError(printable`${done} of ${all}`);
}
