import { mkdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { cpuVendorOf } from "../../buildkit/client/builder-facts.ts";
import type { Paths } from "../../lib/paths.ts";
import { printable } from "../../lib/text/printable.ts";
import type { Digest } from "../../oci/digest.ts";
import type { EnginePrograms } from "../../tools/engine-environment.ts";
import { tryParseCpuVendor } from "../../trust/cpu-vendor.ts";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import { evaluateQuorum, type QuorumRule, type Trust } from "../../trust/quorum/quorum.ts";
import { readRoster } from "../../trust/quorum/roster-file.ts";
import { parsePinnedImage, repositoryOf } from "../../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../../trust/signatures/lookaside-folder.ts";
import { releaseOutputs } from "../engine/release-outputs.ts";
import { Stack } from "../engine/stack.ts";
import { CommandError, exitCode } from "../output/exit-code.ts";
import { provideRegistry, serveRegistry } from "./registry-server.ts";
import {
  provideMaintainers,
  type ThrowawayMaintainer,
  type ThrowawayMaintainers,
} from "./throwaway-maintainers.ts";

/** An image of the rehearsed stack. */
export type RehearsedImage = { readonly name: string; readonly version: string; readonly digest: Digest };

/**
 * A rehearsal of the release of a stack's images, with people, keys and a registry on this machine
 * alone.
 */
export type RehearsalRequest = {
  readonly paths: Paths;
  readonly engine: EnginePrograms;
  readonly images: readonly RehearsedImage[];
  /** The configuration of that stack that selects the images: tree, images, platforms. */
  readonly settings: Readonly<Record<string, string>>;
  readonly report: (line: string) => void;
};

/** Returns the folder of a checkout's rehearsals. */
export function rehearsalFolder(paths: Paths): string {
  return join(paths.state, "rehearsal");
}

/**
 * Rehearses the release of a stack's images. Three throw-away maintainers rebuild them, each with
 * their own store, ledger and BuildKit, and sign their results. Images with a quorum are published
 * to a registry on loopback. Existing signatures and publications are kept.
 *
 * @throws CommandError if an image does not reach its quorum, or is not published
 */
export async function rehearse(request: RehearsalRequest): Promise<void> {
  const { paths, report } = request;
  const folder = rehearsalFolder(paths);
  const vendor = tryParseCpuVendor(cpuVendorOf(await readFile("/proc/cpuinfo", "utf8").catch(() => "")));
  const cast = await provideMaintainers(folder, vendor);
  for (const lookaside of [signaturesOf(paths), lookasideOf(paths)])
    await mkdir(lookaside, { recursive: true });
  // One machine has one CPU vendor. People differ by their keys, vendors do not.
  const rule: QuorumRule = { threshold: 2, vendors: vendor === undefined ? 0 : 1 };
  const common = { ...request.settings, ...trustSettings(paths, cast) };
  report(
    `A release needs independent witnesses: ${cast.people.map(({ id }) => id).join(", ")} (throw-away maintainers, with keys made here) rebuild it all.`,
  );
  await Promise.all(cast.people.map((member) => rebuildAndSign(member, request, cast, common)));
  const lines = await publishImages(request, rule, common);
  for (const line of lines) report(line);
}

function trustSettings(paths: Paths, cast: ThrowawayMaintainers): Record<string, string> {
  const inProject = (path: string): string => relative(paths.project, path);
  return {
    maintainers: inProject(cast.maintainers),
    keys: inProject(cast.keys),
    signatures: inProject(signaturesOf(paths)),
  };
}

function signaturesOf(paths: Paths): string {
  return join(rehearsalFolder(paths), "signatures");
}

/** Returns the folder of the public lookaside, with the signatures of published images. */
function lookasideOf(paths: Paths): string {
  return join(rehearsalFolder(paths), "lookaside");
}

/** Has one maintainer rebuild and sign all images that lack a good signature of theirs. */
async function rebuildAndSign(
  member: ThrowawayMaintainer,
  { paths, engine, images, report }: RehearsalRequest,
  cast: ThrowawayMaintainers,
  common: Readonly<Record<string, string>>,
): Promise<void> {
  const left = await countUnsigned(member, images, cast, signaturesOf(paths));
  if (left === 0) return report(`  ${member.id}  has signed all ${images.length} before`);
  const folder = join(rehearsalFolder(paths), member.id);
  const stack = new Stack(`rehearsal-${member.id}`, engine, paths);
  await stack.create();
  await stack.setConfig({
    ...common,
    // If all three use one daemon, that of BUILDKIT_HOST, a shared cache would make them one witness.
    cache: "false",
    attest: member.id,
    signingKey: relative(paths.project, member.key),
  });
  const started = performance.now();
  await stack.runLogged(
    ["up", "--yes", "--skip-preview", "--refresh", "--suppress-outputs"],
    `${folder}.log`,
    {
      STAGEX_STATE: folder,
    },
  );
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  report(`  ${member.id}  rebuilt and signed ${left} images on a BuildKit of their own, ${seconds} s`);
}

/** Counts the images without a signature of this maintainer that counts. */
async function countUnsigned(
  { id }: ThrowawayMaintainer,
  images: readonly RehearsedImage[],
  { maintainers, keys }: ThrowawayMaintainers,
  signatures: string,
): Promise<number> {
  const trust: Trust = { roster: await readRoster(maintainers), keyring: await Keyring.load(keys) };
  const lookaside = new LookasideFolder(signatures);
  const signed = images.map(async ({ name, version, digest }) => {
    const image = parsePinnedImage(`stagex/${name}:${version}@${digest}`);
    const files = await lookaside.read(repositoryOf(image.reference), image.digest).catch(() => []);
    const { accepted } = await evaluateQuorum(image, files, trust, { threshold: 1, vendors: 0 });
    return accepted.some(({ person }) => person === id);
  });
  return (await Promise.all(signed)).filter((is) => !is).length;
}

/** Publishes the images with a quorum. @returns the last lines for the user */
async function publishImages(
  { paths, engine, images }: RehearsalRequest,
  rule: QuorumRule,
  common: Readonly<Record<string, string>>,
): Promise<string[]> {
  const folder = rehearsalFolder(paths);
  const registry = await serveRegistry(join(folder, "registry"), await provideRegistry());
  try {
    const stack = new Stack("rehearsal-release", engine, paths);
    await stack.create();
    await stack.setConfig({
      ...common,
      stack: "release",
      threshold: String(rule.threshold),
      vendors: String(rule.vendors),
      publishTo: `${registry.host}/stagex`,
      publishSignaturesTo: relative(paths.project, lookasideOf(paths)),
    });
    const args = ["up", "--yes", "--skip-preview", "--refresh", "--suppress-outputs"];
    await stack.runLogged(args, join(folder, "release.log"));
    const { published } = releaseOutputs.parse(await stack.readOutputs());
    return closingLines(paths, images, published, rule, `${registry.host}/stagex`);
  } finally {
    await registry.close();
  }
}

function closingLines(
  paths: Paths,
  images: readonly RehearsedImage[],
  published: Readonly<Record<string, object>>,
  { threshold, vendors }: QuorumRule,
  destination: string,
): string[] {
  const missing = images.filter(({ name }) => !Object.hasOwn(published, name)).map(({ name }) => name);
  const example = images.at(-1);
  if (example === undefined || missing.length > 0) {
    const log = join(rehearsalFolder(paths), "release.log");
    throw new CommandError(
      printable`not published: ${missing.join(", ") || "any image"}; see ${log}`,
      exitCode.no,
    );
  }
  const inProject = (path: string): string => relative(process.cwd(), path) || ".";
  const folder = rehearsalFolder(paths);
  const trust = [
    `--signatures ${inProject(lookasideOf(paths))}`,
    `--maintainers ${inProject(join(folder, "MAINTAINERS"))}`,
    `--keys ${inProject(join(folder, "keys"))}`,
    `--threshold ${threshold} --vendors ${vendors}`,
  ].join(" ");
  return [
    `  published ${Object.keys(published).length} of ${images.length} images to ${destination}: ${threshold} of 3 people agreed on each, on ${vendors} CPU vendor.`,
    "  (One machine has one CPU vendor. StageX's own rule, and the default elsewhere, is 2 people on 2 vendors.)",
    "",
    "Verify one as a user would:",
    `  npx stagex verify --image stagex/${example.name}:${example.version}@${example.digest} ${trust}`,
    `or pull it, every blob hashed, from the registry that "npx stagex registry" serves:`,
    `  npx stagex verify ${destination}/${example.name}:${example.version} --signed-as stagex ${trust}`,
  ];
}
