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

/** Images verified at once. They wait for the network more than for a CPU. */
const maxConcurrent = 4;

/**
 * `stagex verify`: checks that enough maintainers have signed images, and that the images have the
 * signed bytes.
 */
export function verifyCommand(): Command {
  const command = new Command("verify")
    .description(
      "Checks that images are what enough maintainers have signed, down to the last blob. Exits 0 if all are, 1 if one is not, " +
        "2 if the answer for one is not known.",
    )
    .argument(
      "[image...]",
      "NAME:TAG, NAME@sha256:…, NAME:TAG@sha256:…, or the folder of an OCI layout (out/core-sh)",
    )
    .addOption(
      new Option(
        "--image <REPO:TAG@sha256:…>",
        "check only the signatures of one image, by name and manifest digest; no registry is asked",
      ).argParser(argumentParser(parsePinnedImage)),
    )
    .option("--release <tag>", "check every image that this release of --tree publishes in digests/*.txt")
    .option("--tree <folder>", "the StageX tree (required with --release)")
    .option("--registry <address>", "the registry that has the images of --release", "docker.io/stagex")
    .option(
      "--signed-as <name>",
      "name before the image's in its signatures, if the registry uses another: stagex",
    )
    .option(
      "--no-blobs",
      "check manifests and signatures only: skip configs, layers, and the digests of unpacked layers",
    )
    .addOption(
      new Option(
        "--statements <kinds>",
        "statements that someone in the roster must have signed too: provenance, sbom, or both with a comma (read from statements/ in the lookaside)",
      )
        .argParser((text, before: readonly StatementKind[]) => [
          ...new Set([...before, ...argumentParser(parseStatementKinds)(text)]),
        ])
        .default([], "none"),
    )
    .option(
      "--json",
      "print a list with an object for each image and platform; for --image, the object alone",
    );
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
    throw new CommandError(
      "no images: give their names, or --release TAG, or --image REPO:TAG@sha256:… (one of the three)",
    );
  }
  if (image !== undefined && options.statements.length > 0)
    throw new CommandError(
      "--image checks signatures alone; for --statements, name the image as an argument",
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
    registryClient: requests.every(({ source }) => "folder" in source)
      ? ""
      : (await provideTool("registry-client")).path,
  };
  const verdicts = await verifyAll(requests, inspector);
  print(options.json ? printableJson(verdicts.map(verifyResultJson)) : reportText(verdicts));
  return exitCodeOf(verdicts);
}

/** Returns the image under the name in its signatures, if it is pulled under another. */
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
    if (tree === undefined) throw new CommandError("--release needs the tree that it is of: --tree <folder>");
    return await releaseRequests({ release, tree, registry, ...named });
  } catch (error) {
    throw asUsageError(error);
  }
}

/** Verifies several images at once; the results are in the order of the requests. */
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

/**
 * Shows progress on stderr: one line that is redrawn on a terminal, otherwise a line every 100
 * images.
 */
function progress(done: number, all: number, image: string): void {
  if (all === 1) return;
  if (errorScreen.isTTY) redrawLine(done === all ? printable`` : printable`${done} of ${all}: ${image}`);
  else if (done % 100 === 0) printError(printable`${done} of ${all}`);
}
