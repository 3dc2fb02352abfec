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

/** An image of the stack that is rehearsed with. */
export type RehearsedImage = { readonly name: string; readonly version: string; readonly digest: Digest };

/** What is rehearsed: the release of a stack's images, with people, keys and a registry that are of this machine alone. */
export type RehearsalRequest = {
  readonly paths: Paths;
  readonly engine: EnginePrograms;
  readonly images: readonly RehearsedImage[];
  /** The settings of that stack that say what is built: tree, images, platforms. */
  readonly settings: Readonly<Record<string, string>>;
  readonly report: (line: string) => void;
};

/** The folder of a checkout's rehearsals. */
export function rehearsalFolder(paths: Paths): string {
  return join(paths.state, "rehearsal");
}

/**
 * Goes all the way with the images of a stack: three throw-away maintainers rebuild them, each with a store, a ledger and a BuildKit of
 * its own, and sign what they got; where enough of them agree, the images are published to a registry on loopback. What has been
 * signed and published before is not done again.
 *
 * @throws CommandError where an image does not come to its quorum, or is not published
 */
export async function rehearse(request: RehearsalRequest): Promise<void> {
  const { paths, report: say } = request;
  const folder = rehearsalFolder(paths);
  const vendor = tryParseCpuVendor(cpuVendorOf(await readFile("/proc/cpuinfo", "utf8").catch(() => "")));
  const cast = await provideMaintainers(folder, vendor);
  for (const lookaside of [signaturesOf(paths), lookasideOf(paths)])
    await mkdir(lookaside, { recursive: true });
  // One machine has one CPU: it can stand for people, who have keys of their own, but for no second vendor.
  const rule: QuorumRule = { threshold: 2, vendors: vendor === undefined ? 0 : 1 };
  const common = { ...request.settings, ...trustSettings(paths, cast) };
  say(
    `A release needs independent witnesses: ${cast.people.map(({ id }) => id).join(", ")} (throw-away maintainers, with keys made here) rebuild it all.`,
  );
  await Promise.all(cast.people.map((member) => rebuildAndSign(member, request, cast, common)));
  const lines = await publishImages(request, rule, common);
  for (const line of lines) say(line);
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

/** Where what is published has its signatures: the public lookaside. */
function lookasideOf(paths: Paths): string {
  return join(rehearsalFolder(paths), "lookaside");
}

/** One maintainer rebuilds and signs all that bears no good signature of theirs yet. */
async function rebuildAndSign(
  member: ThrowawayMaintainer,
  { paths, engine, images, report: say }: RehearsalRequest,
  cast: ThrowawayMaintainers,
  common: Readonly<Record<string, string>>,
): Promise<void> {
  const left = await countUnsigned(member, images, cast, signaturesOf(paths));
  if (left === 0) return say(`  ${member.id}  has signed all ${images.length} before`);
  const folder = join(rehearsalFolder(paths), member.id);
  const stack = new Stack(`rehearsal-${member.id}`, engine, paths);
  await stack.create();
  await stack.setConfig({
    ...common,
    // Where all three use one daemon, BUILDKIT_HOST's, its cache would make them one witness.
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
  say(`  ${member.id}  rebuilt and signed ${left} images on a BuildKit of their own, ${seconds} s`);
}

/** How many images bear no signature of this maintainer that counts. */
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

/** Publishes what has its quorum; the lines that a user reads at the end. */
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
      publish: `${registry.host}/stagex`,
      lookaside: relative(paths.project, lookasideOf(paths)),
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
