import { expect, test } from "vitest";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import { evaluateQuorum } from "../../trust/quorum/quorum.ts";
import { parseRoster } from "../../trust/quorum/roster.ts";
import { codesOf, image, newKey, signedBy } from "../support/builders/maintainers.ts";

/**
 * Rosters may name a subkey. Another person with that subkey in their certificate must not count as
 * its owner.
 */
test("does not count a subkey of another person in a certificate", async () => {
  const alice = await newKey("alice", { subkeys: [{ sign: true }] });
  const [subkey] = alice.subkeys;
  if (subkey === undefined) throw new Error("no subkey");
  const mallory = await newKey("mallory");
  const thief = mallory.toPublic();
  thief.subkeys.push(...alice.toPublic().subkeys);
  const fingerprint = subkey.getFingerprint().toUpperCase();
  const roster = parseRoster(`[people.alice]\n[keys.alice.one]\nid = "${fingerprint}"\n`);
  const byMallory = { file: "signature-1", bytes: await signedBy(mallory) };
  const byAlice = { file: "signature-2", bytes: await signedBy(alice, undefined, { by: subkey.getKeyID() }) };
  for (const keys of [
    [alice, thief],
    [thief, alice],
  ]) {
    const trust = { roster, keyring: await Keyring.of(keys) };
    const outcome = await evaluateQuorum(image, [byMallory, byAlice], trust, { threshold: 1, vendors: 0 });
    expect(codesOf(outcome)).toEqual({ "signature-1": "not-in-roster" });
    expect(outcome.accepted).toMatchObject([{ file: "signature-2", person: "alice" }]);
  }
});
