import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { pathsOf } from "../../lib/paths.ts";
import { printableJsonText, printableLine, printableLines } from "../../lib/text/printable.ts";
import { print, printError } from "../../lib/text/terminal.ts";
import type { Digest } from "../../oci/digest.ts";
import { pushReferrer } from "../../oci/registry/referrer.ts";
import { parseRegistryAddress, repositoryIn } from "../../oci/registry/registry-address.ts";
import { RegistryClient } from "../../oci/registry/registry-client.ts";
import { RegistryError } from "../../oci/registry/registry-error.ts";
import { pullManifest } from "../../oci/registry/registry-manifest.ts";
import type { BuildEvidence } from "../../pipeline/statements/build-evidence.ts";
import { type ImageStatement, statementReferrer } from "../../pipeline/statements/image-statement.ts";
import { type StatementSigner, signStatement } from "../../pipeline/statements/sign-statement.ts";
import { provideTool } from "../../tools/tool-resolver.ts";
import { tryParseFingerprint } from "../../trust/openpgp/fingerprint.ts";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import { agentSigningKey, loadSigningKey } from "../../trust/openpgp/signing-key.ts";
import { readRoster } from "../../trust/quorum/roster-file.ts";
import { TrustError } from "../../trust/trust-error.ts";
import { asUsageError, CommandError, exitCode } from "../output/exit-code.ts";

/** Options to sign and to attach a statement. */
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
    .option(
      "--sign <key>",
      "sign it with this key: a fingerprint, for gpg-agent, or a file with a private key",
    )
    .option("--signatures <where>", "the lookaside that signed statements are written to, and read from")
    .option("--maintainers <file>", "the roster (default: MAINTAINERS of --tree)")
    .option("--keys <folder>", "the maintainers' public keys (default: keys/ of --tree)")
    .option(
      "--attach <registry>",
      "attach it to the image in a registry, with its signatures: docker.io/stagex",
    )
    .option("--json", "print the document itself");
}

/** A statement with the evidence that it was made from, and its summary for people. */
export type PreparedStatement = {
  readonly statement: ImageStatement;
  readonly evidence: BuildEvidence;
  /** The name that the image is signed under, without its tag. */
  readonly repository: string;
  readonly lines: readonly string[];
};

/** Prints a statement, after signing and attaching it where the options ask for it. */
export async function printAndSign(prepared: PreparedStatement, options: StatementOptions): Promise<void> {
  const { statement, lines } = prepared;
  const actions: string[] = [];
  try {
    if (options.sign !== undefined && options.signatures === undefined)
      throw new CommandError("--sign needs a place for the signed statement: --signatures <folder>");
    const { signatures, attach } = options;
    const messages =
      signatures === undefined ? [] : await signedMessages(prepared, signatures, options, actions);
    if (attach !== undefined) await attachTo(attach, prepared, messages, actions);
  } catch (error) {
    if (error instanceof TrustError) throw new CommandError(error.message);
    if (error instanceof RegistryError) throw new CommandError(error.message, exitCode.unavailable);
    throw error;
  }
  if (options.json) {
    print(printableJsonText(Buffer.from(statement.document.bytes).toString("utf8")));
    for (const line of actions) printError(printableLine(line));
  } else print(printableLines([...lines, ...actions].map(printableLine)));
}

/**
 * Returns what the image's tags point at: the manifest of one platform, or the index over several.
 */
function targetOf({ digests, plan }: BuildEvidence): Digest {
  const manifests = Object.values(digests.platforms);
  const target = manifests.length === 1 ? manifests[0] : digests.index;
  if (target) return target;
  throw new CommandError(`the index of ${plan.name} is not known; build it: npm start`, exitCode.no);
}

async function signedMessages(
  { statement, evidence, repository }: PreparedStatement,
  lookaside: string,
  options: StatementOptions,
  actions: string[],
): Promise<readonly Uint8Array[]> {
  const { tree, maintainers = join(tree, "MAINTAINERS"), keys = join(tree, "keys"), sign } = options;
  const trust = { roster: await readRoster(maintainers), keyring: await Keyring.load(keys) };
  const signer = sign === undefined ? undefined : await signerWith(sign, trust.keyring);
  const place = { repository, target: targetOf(evidence), lookaside, trust };
  const { messages, before, file } = await signStatement(statement, place, signer);
  if (before !== undefined) actions.push(`signed before by ${before.person}: ${before.file}`);
  if (file !== undefined) actions.push(`signed: ${file}`);
  return messages;
}

async function signerWith(name: string, keyring: Keyring): Promise<StatementSigner> {
  const fingerprint = tryParseFingerprint(name);
  const key =
    fingerprint === undefined ? await loadSigningKey(name) : agentSigningKey(fingerprint, { keyring });
  return {
    isOwn: (stored) => stored.fingerprint === key.fingerprint,
    sign: (payload) => key.sign(payload),
  };
}

async function attachTo(
  registry: string,
  { statement, evidence }: PreparedStatement,
  messages: readonly Uint8Array[],
  actions: string[],
): Promise<void> {
  const repository = repositoryAt(registry, evidence.plan.name);
  const target = targetOf(evidence);
  const client = new RegistryClient((await provideTool("registry-client")).path);
  const { size } = await pullManifest(client, repository, target);
  const referrer = statementReferrer({ evidence, target, size }, statement, messages);
  const { scratch } = pathsOf();
  await mkdir(scratch, { recursive: true });
  const digest = await pushReferrer(repository, referrer, { client, scratch });
  actions.push(`attached: ${repository}@${digest}`);
}

function repositoryAt(registry: string, image: string) {
  try {
    return parseRegistryAddress(repositoryIn(parseRegistryAddress(registry), image) ?? registry);
  } catch (error) {
    throw asUsageError(error);
  }
}
