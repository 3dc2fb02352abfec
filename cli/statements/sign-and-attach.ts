import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { pathsOf } from "../../lib/paths.ts";
import { printableJsonText, printableLine, printableLines } from "../../lib/text/printable.ts";
import { print, printError } from "../../lib/text/terminal.ts";
import { mediaTypes } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { pushReferrer } from "../../oci/registry/referrer.ts";
import { parseRegistryAddress, repositoryIn } from "../../oci/registry/registry-address.ts";
import { RegistryClient } from "../../oci/registry/registry-client.ts";
import { RegistryError } from "../../oci/registry/registry-error.ts";
import { pullManifest } from "../../oci/registry/registry-manifest.ts";
import type { BuildEvidence } from "../../pipeline/statements/build-evidence.ts";
import { type ImageStatement, statementReferrer } from "../../pipeline/statements/image-statement.ts";
import { provideTool } from "../../tools/tool-resolver.ts";
import { tryParseFingerprint } from "../../trust/openpgp/fingerprint.ts";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import { agentSigningKey, loadSigningKey } from "../../trust/openpgp/signing-key.ts";
import type { Trust } from "../../trust/quorum/quorum.ts";
import { readRoster } from "../../trust/quorum/roster-file.ts";
import { parseRepository } from "../../trust/signatures/image-reference.ts";
import { SignedStatements, type StatementQuery } from "../../trust/statements/signed-statements.ts";
import { TrustError } from "../../trust/trust-error.ts";
import { asUsageError, CommandError, exitCode } from "../output/exit-code.ts";

/** What is done with a statement besides printing it. */
export type StatementOptions = {
  tree: string;
  json?: true;
  sign?: string;
  signatures?: string;
  maintainers?: string;
  keys?: string;
  attach?: string;
};

/** Adds the options that {@link printAndSign} reads. */
export function addStatementOptions(command: Command): Command {
  return command
    .option("--sign <key>", "sign it: a fingerprint, for gpg-agent, or a file with a private key")
    .option("--signatures <where>", "the lookaside that signed statements are filed in, and read from")
    .option("--maintainers <file>", "the roster; by default that of --tree")
    .option("--keys <folder>", "the maintainers' public keys; by default keys/ of --tree")
    .option(
      "--attach <registry>",
      "lay it beside the image in a registry, with its signatures: docker.io/stagex",
    )
    .option("--json", "print the document itself");
}

/** A statement that was made, of what, and how it is told to people. */
export type PreparedStatement = {
  readonly statement: ImageStatement;
  readonly evidence: BuildEvidence;
  readonly repository: string;
  readonly lines: readonly string[];
};

/** Prints a statement; signs it, and attaches it, where the options say so. */
export async function printAndSign(finished: PreparedStatement, options: StatementOptions): Promise<void> {
  const { statement, lines } = finished;
  const done: string[] = [];
  try {
    const messages = options.signatures === undefined ? [] : await signedMessages(finished, options, done);
    if (options.sign !== undefined && options.signatures === undefined) {
      throw new CommandError("where is the signed statement to be filed? Give --signatures <folder>");
    }
    if (options.attach !== undefined) await attach(finished, messages, options.attach, done);
  } catch (error) {
    if (error instanceof TrustError) throw new CommandError(error.message);
    if (error instanceof RegistryError) throw new CommandError(error.message, exitCode.unavailable);
    throw error;
  }
  if (options.json) {
    print(printableJsonText(Buffer.from(statement.document.bytes).toString("utf8")));
    for (const line of done) printError(printableLine(line));
  } else print(printableLines([...lines, ...done].map(printableLine)));
}

/** What the tags point at: the manifest of one platform, or the index over several. */
function targetOf({ digests, plan }: BuildEvidence): Digest {
  const manifests = Object.values(digests.platforms);
  const target = manifests.length === 1 ? manifests[0] : digests.index;
  if (target) return target;
  throw new CommandError(`the index of ${plan.name} is not known; build it: npm start`, exitCode.no);
}

/** Those in the lookaside that say exactly this; with a key that has not signed it yet, one more. */
async function signedMessages(
  { statement, evidence, repository }: PreparedStatement,
  options: StatementOptions,
  done: string[],
): Promise<readonly Uint8Array[]> {
  const { maintainers = join(options.tree, "MAINTAINERS"), keys = join(options.tree, "keys") } = options;
  const trust: Trust = { roster: await readRoster(maintainers), keyring: await Keyring.load(keys) };
  const signed = new SignedStatements(options.signatures ?? "", statement.kind);
  const about: StatementQuery = {
    repository: parseRepository(repository),
    digest: targetOf(evidence),
    predicateType: statement.predicateType,
  };
  const held = await signed.readMatching(about, statement.payload, trust);
  if (options.sign === undefined) return held.map(({ message }) => message);
  const fingerprint = tryParseFingerprint(options.sign);
  const key =
    fingerprint === undefined
      ? await loadSigningKey(options.sign)
      : agentSigningKey(fingerprint, { keyring: trust.keyring });
  const own = held.find((one) => one.fingerprint === key.fingerprint);
  if (own !== undefined) {
    done.push(`signed before by ${own.person}: ${own.file}`);
    return held.map(({ message }) => message);
  }
  const message = await key.sign(statement.payload);
  const manifests = Object.values(evidence.digests.platforms);
  done.push(`signed: ${await signed.write(about, message, trust, manifests)}`);
  return [...held.map((one) => one.message), message];
}

async function attach(
  { statement, evidence }: PreparedStatement,
  messages: readonly Uint8Array[],
  registry: string,
  done: string[],
): Promise<void> {
  const repository = repositoryAt(registry, evidence.plan.name);
  const target = targetOf(evidence);
  const client = new RegistryClient((await provideTool("registry-client")).path);
  const { size } = await pullManifest(client, repository, target);
  const mediaType =
    target === evidence.digests.index && Object.keys(evidence.digests.platforms).length > 1
      ? mediaTypes.index
      : mediaTypes.manifest;
  const referrer = statementReferrer({ mediaType, digest: target, size }, statement, messages);
  const { scratch } = pathsOf();
  await mkdir(scratch, { recursive: true });
  const digest = await pushReferrer(repository, referrer, { client, scratch });
  done.push(`attached: ${repository}@${digest}`);
}

function repositoryAt(registry: string, image: string) {
  try {
    return parseRegistryAddress(repositoryIn(parseRegistryAddress(registry), image) ?? registry);
  } catch (error) {
    throw asUsageError(error);
  }
}
