import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { provideMaintainers } from "../../../../cli/rehearsal/throwaway-maintainers.ts";
import { Keyring } from "../../../../trust/openpgp/keyring.ts";
import { loadSigningKey } from "../../../../trust/openpgp/signing-key.ts";
import { readRoster } from "../../../../trust/quorum/roster-file.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

test("makes three people with their own keys on this machine's CPU", async () => {
  const {
    people: members,
    maintainers,
    keys,
  } = await provideMaintainers(await scratchFolder(), "AuthenticAMD");
  const roster = await readRoster(maintainers);
  const keyring = await Keyring.load(keys);
  expect(keyring.skipped).toEqual([]);
  expect(keyring.certificates.size).toBe(3);
  for (const { id, key } of members) {
    const { fingerprint } = await loadSigningKey(key);
    expect(roster.get(id)?.fingerprints).toEqual([fingerprint]);
    expect(keyring.certificates.has(fingerprint)).toBe(true);
    expect(roster.get(id)?.machines.map(({ cpuVendor }) => cpuVendor)).toEqual(["AuthenticAMD"]);
  }
});

test("keeps private keys readable by this user alone, apart from the public keys", async () => {
  const folder = await scratchFolder();
  const { people: members, keys } = await provideMaintainers(folder, undefined);
  expect((await stat(folder)).mode & 0o077).toBe(0);
  for (const { key } of members) expect((await stat(key)).mode & 0o077).toBe(0);
  for (const file of await readdir(keys)) {
    expect(await readFile(join(keys, file), "utf8")).not.toContain("PRIVATE");
  }
});

test("keeps the people of an earlier run, and makes a key again if a killed run left no public key", async () => {
  const folder = await scratchFolder();
  const { maintainers, keys } = await provideMaintainers(folder, "GenuineIntel");
  const before = await readFile(maintainers, "utf8");
  await provideMaintainers(folder, "GenuineIntel");
  expect(await readFile(maintainers, "utf8")).toBe(before);

  const [lost = ""] = await readdir(keys);
  await rm(join(keys, lost));
  const { people: members } = await provideMaintainers(folder, "GenuineIntel");
  const roster = await readRoster(maintainers);
  for (const { id, key } of members) {
    expect(roster.get(id)?.fingerprints).toEqual([(await loadSigningKey(key)).fingerprint]);
  }
  expect(await readFile(maintainers, "utf8")).not.toBe(before);
});

test("lists no vendor for an unknown CPU", async () => {
  const { maintainers } = await provideMaintainers(await scratchFolder(), undefined);
  for (const { machines } of (await readRoster(maintainers)).values()) expect(machines).toEqual([]);
});
