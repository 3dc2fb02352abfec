import { type ConfigValues, parseConfig } from "../../config/schema.ts";
import { isInputKey } from "../../distro/input-key.ts";
import type { LedgerRecord } from "../../distro/ledger/ledger.ts";
import { inputKeyIfKnown, lookUpOwnFirst, predictDigests } from "../../distro/plan/predict-digests.ts";
import { parseDigestsFile } from "../../distro/tree/digests-file.ts";
import { maxTextBytes } from "../../distro/tree-source.ts";
import { readRegularFile } from "../../lib/fs/regular-file.ts";
import { pathsOf } from "../../lib/paths.ts";
import { printable } from "../../lib/text/printable.ts";
import { type Digest, digestFromHex, isDigest } from "../../oci/digest.ts";
import { requireAttestableBuild } from "../../pipeline/attestation/attestable-build.ts";
import { NotBuiltHereError } from "../../pipeline/attestation/built-here.ts";
import { countedVendorOf, findSignatureBy, pinnedImage } from "../../pipeline/attestation/signature.ts";
import { Context } from "../../pipeline/context/context.ts";
import { openLedgers } from "../../pipeline/context/open-ledgers.ts";
import { requirePerson } from "../../pipeline/context/signer.ts";
import type { CpuVendor } from "../../trust/cpu-vendor.ts";
import type { Trust } from "../../trust/quorum/quorum.ts";
import type { Person } from "../../trust/quorum/roster.ts";
import { type PinnedImage, repositoryOf } from "../../trust/signatures/image-reference.ts";
import type { Lookaside } from "../../trust/signatures/lookaside.ts";
import { printConfigWarnings } from "../engine/config-warnings.ts";
import { provideEngine } from "../engine/provide-engine.ts";
import { Stack } from "../engine/stack.ts";
import { asUsageError, CommandError } from "../output/exit-code.ts";

export type SignableOptions = {
  readonly stack: string;
  readonly digests?: readonly string[];
  readonly person?: string;
};

/** A manifest that this machine has built and the person may sign. */
export type SignableManifest = {
  readonly image: string;
  /**
   * The name in its signature, `stagex/core-busybox:1.36.1`: without the host that
   * `manifest.reference` has.
   */
  readonly reference: string;
  readonly manifest: PinnedImage;
  readonly record: LedgerRecord;
  /** The CPU vendor that its signature counts for. */
  readonly vendor: CpuVendor | undefined;
};

/** The manifests that a person can sign, and the trust that verifies the signatures. */
export type SignableImages = {
  readonly person: Person;
  readonly trust: Trust;
  readonly lookaside: Lookaside;
  /** `stagex:signatures`, for messages. */
  readonly lookasideAddress: string | undefined;
  readonly manifests: readonly SignableManifest[];
  /** Reasons why the other images can't be signed here. */
  readonly notBuiltHere: readonly string[];
};

/** Finds the requested images that were built here, and the reasons against the others. */
export async function findSignableImages(options: SignableOptions): Promise<SignableImages> {
  const paths = pathsOf();
  const stack = new Stack(options.stack, await provideEngine(false), paths);
  const values = await stack.getConfig();
  printConfigWarnings(options.stack, values);
  const config = parseStackConfig(values);
  const id = options.person ?? config.attest;
  if (id === undefined) {
    throw new CommandError(
      printable`no signer: give an id in MAINTAINERS with --person ID, or: npm run pulumi -- config set stagex:attest ID --stack ${options.stack}`,
    );
  }
  const context = new Context(config, paths.project, new AbortController().signal);
  const trust = await context.trust();
  const person = requirePerson(trust, id);
  const manifests: SignableManifest[] = [];
  const notBuiltHere: string[] = [];
  for (const asked of await requestedImages(options, stack, context)) {
    try {
      const reference = `${config.signedAs}/${asked.image}:${asked.version}`;
      for (const [digest, record] of await asked.builds()) {
        const vendor = countedVendorOf(record, person);
        manifests.push({
          image: asked.image,
          reference,
          manifest: pinnedImage(reference, digest),
          record,
          vendor,
        });
      }
    } catch (error) {
      if (!(error instanceof NotBuiltHereError)) throw error;
      notBuiltHere.push(error.message);
    }
  }
  return {
    person,
    trust,
    lookaside: await context.lookaside(),
    lookasideAddress: config.signatures,
    manifests,
    notBuiltHere,
  };
}

/** Returns whether the lookaside has a signature of the person that counts. */
export async function isSigned(
  { person, trust, lookaside }: SignableImages,
  { manifest, vendor }: SignableManifest,
): Promise<boolean> {
  const files = await lookaside.read(repositoryOf(manifest.reference), manifest.digest);
  return (await findSignatureBy(person, vendor, manifest, files, trust)) !== undefined;
}

type RequestedImage = {
  readonly image: string;
  readonly version: string;
  /** Returns the record of each manifest's build here. */
  builds(): ReturnType<typeof requireAttestableBuild>;
};

async function requestedImages(
  { digests }: SignableOptions,
  stack: Stack,
  context: Context,
): Promise<readonly RequestedImage[]> {
  return digests ? await imagesOfDigestsFiles(digests, context) : await imagesOfStack(stack, context);
}

async function imagesOfStack(stack: Stack, context: Context): Promise<readonly RequestedImage[]> {
  const packages = await stack.readPackages();
  if (packages.length === 0)
    throw new CommandError(printable`the stack ${stack.name} has no images; build them with: npm start`);
  return packages.flatMap(({ image, version, inputKey, digests }) =>
    isInputKey(inputKey)
      ? [
          {
            image,
            version,
            builds: () =>
              requireAttestableBuild(context, { image, inputKey, digests: parseDigests(digests) }),
          },
        ]
      : [],
  );
}

/**
 * Takes names and first manifests from digests files, and versions from the tree. An image of
 * another version must not be signed as this one, so it must have been built from exactly the
 * inputs that the tree has now.
 */
async function imagesOfDigestsFiles(
  files: readonly string[],
  context: Context,
): Promise<readonly RequestedImage[]> {
  const { images } = await context.tree();
  const ledgers = openLedgers(context.config, context.paths);
  const known = await predictDigests(images, (key) => lookUpOwnFirst(ledgers, key));
  const asked: RequestedImage[] = [];
  for (const file of files) {
    const bytes = await readRegularFile(file, maxTextBytes).catch((error: Error) => {
      throw new CommandError(printable`no digests: ${error.message}`);
    });
    for (const [image, hex] of parseDigestsFile(file, bytes.toString("utf8"))) {
      const digest = digestFromHex(hex);
      const plan = images.get(image);
      asked.push({
        image,
        version: plan?.version ?? "latest",
        async builds() {
          const inputKey = plan && inputKeyIfKnown(plan, known);
          if (!inputKey)
            throw new NotBuiltHereError(`${image} is not attested: this machine has not built ${digest}`);
          const { digests } = await context.built.lookUp(inputKey);
          const [first = ""] = plan.platforms;
          return await requireAttestableBuild(context, {
            ...{ image, inputKey },
            digests: { ...digests?.platforms, [first]: digest },
          });
        },
      });
    }
  }
  return asked;
}

function parseDigests(digests: Readonly<Record<string, string>>): Readonly<Record<string, Digest>> {
  return Object.fromEntries(
    Object.entries(digests).flatMap(([platform, digest]) => (isDigest(digest) ? [[platform, digest]] : [])),
  );
}

function parseStackConfig(values: ConfigValues) {
  try {
    return parseConfig(values);
  } catch (error) {
    throw asUsageError(error);
  }
}
