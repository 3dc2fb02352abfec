import { lstat, mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { StagexConfig } from "../../config/schema.ts";
import type { Paths } from "../../lib/paths.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { type FoundKeys, keyExportHint, readKeyFiles } from "../../trust/openpgp/key-folder.ts";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import { findUsableKeys } from "../../trust/openpgp/usable-keys.ts";
import type { QuorumRule, Trust } from "../../trust/quorum/quorum.ts";
import type { Roster } from "../../trust/quorum/roster.ts";
import { readRoster } from "../../trust/quorum/roster-file.ts";
import { createLookaside, type Lookaside } from "../../trust/signatures/lookaside.ts";
import { TrustError } from "../../trust/trust-error.ts";

/**
 * The people who may attest, the quorum rule, and a digest by which the engine's diff sees a change
 * of roster or keys.
 */
export type ConfiguredTrust = Trust & {
  readonly rule: QuorumRule;
  readonly rosterDigest: Digest;
  /**
   * Tells whether the files have changed since. A run can take hours, and a key be revoked
   * meanwhile.
   */
  isOutdated(): Promise<boolean>;
};

/**
 * Reads the roster and the keys that the configuration names; by default those of the tree.
 * @param root the tree's folder
 * @throws TrustError where either is missing or unreadable
 */
export async function readConfiguredTrust(
  { maintainers, keys, threshold, vendors }: StagexConfig,
  paths: Paths,
  root: string,
): Promise<ConfiguredTrust> {
  const place = async (key: string, configured: string | undefined, own: string): Promise<string> => {
    const path = configured === undefined ? join(root, own) : resolve(paths.project, configured);
    if (await lstat(path).catch(() => undefined)) return path;
    const whose = configured === undefined ? "the tree has none of its own" : "there is nothing there";
    const how = key === "keys" ? ` (${keyExportHint})` : "";
    throw new TrustError(
      `no ${key} at ${path}: ${whose}; say where: pulumi config set stagex:${key} PATH${how}`,
    );
  };
  const rosterPlace = await place("maintainers", maintainers, "MAINTAINERS");
  const keysPlace = await place("keys", keys, "keys");
  // First, so that a change during the reading is noticed.
  const read = await digestOfFiles(rosterPlace, keysPlace);
  const roster = await readRoster(rosterPlace);
  const keyring = await Keyring.load(keysPlace);
  return {
    roster,
    keyring,
    rule: { threshold, vendors },
    rosterDigest: await rosterDigestOf(roster, keyring),
    isOutdated: async () => (await digestOfFiles(rosterPlace, keysPlace)) !== read,
  };
}

/** Hashes the roster and all key files. For an unreadable file the reason is hashed. */
async function digestOfFiles(roster: string, keys: string): Promise<Digest> {
  const contents = [];
  for (const place of [roster, keys]) {
    const unread = (error: Error) => ({ files: [{ file: place, problem: error.message }] });
    const { files }: Pick<FoundKeys, "files"> = await readKeyFiles(place).catch(unread);
    for (const one of files)
      contents.push([place, one.file, "bytes" in one ? digestOf(one.bytes) : one.problem]);
  }
  return digestOf(JSON.stringify(contents));
}

/**
 * Opens the configured lookaside. By default it is a folder of the project, which is made if
 * needed.
 */
export async function openLookaside(config: StagexConfig, paths: Paths): Promise<Lookaside> {
  const address = lookasideAddress(config, paths);
  if (config.signatures === undefined) await mkdir(address, { recursive: true });
  return createLookaside(address);
}

/** Returns the lookaside's absolute folder or its web address. */
export function lookasideAddress({ signatures }: StagexConfig, paths: Paths): string {
  if (signatures === undefined) return join(paths.state, "signatures");
  if (/^https?:/.test(signatures)) return signatures;
  return resolve(paths.project, signatures.replace(/^file:\/\//, ""));
}

/**
 * Hashes all that decides whose signature counts today, so the digest changes once a key expires.
 * It does not change with the spelling or order of MAINTAINERS and the key files.
 */
async function rosterDigestOf(roster: Roster, keyring: Keyring): Promise<Digest> {
  const usable = await findUsableKeys(keyring);
  const people = [...roster.values()].map(({ id, fingerprints, machines }) => ({
    id,
    fingerprints: [...fingerprints].sort(),
    machines: machines.map(({ cpuVendor = null }) => cpuVendor).sort(),
  }));
  const certificates = [...keyring.certificates].map(([fingerprint, certificate]) => ({
    fingerprint,
    certificate: digestOf(certificate.write()),
    usable: usable.get(fingerprint) ?? [],
  }));
  const doubts = keyring.doubts.map(({ file = null, reason, keys = null }) => ({ file, reason, keys }));
  const canonical = {
    people: people.sort((a, b) => (a.id < b.id ? -1 : 1)),
    certificates: certificates.sort((a, b) => (a.fingerprint < b.fingerprint ? -1 : 1)),
    ...(doubts.length > 0 ? { doubts } : {}),
  };
  return digestOf(Buffer.from(JSON.stringify(canonical)));
}
