import { expect, test } from "vitest";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import { evaluateQuorum } from "../../trust/quorum/quorum.ts";
import { parseRoster } from "../../trust/quorum/roster.ts";
import { image, judged, maintainersOf, newKey, signedBy } from "../support/builders/maintainers.ts";

test("refuses a roster with one key for two people", async () => {
  const shared = await newKey("shared");
  const people = { alice: { keys: [shared] }, bob: { keys: [shared] } };
  await expect(judged([await signedBy(shared)], people)).rejects.toThrow(/under two people, alice and bob/);
});

test("refuses a roster with a primary key for one person and its subkey for another", async () => {
  const alice = await newKey("alice", { subkeys: [{ sign: true }] });
  const subkey = alice.subkeys[0]?.getFingerprint();
  const text = `${maintainersOf({ alice: { keys: [alice] } })}\n[people.bob]\n[keys.bob.key]\nid = "${subkey}"`;
  const trust = { roster: parseRoster(text), keyring: await Keyring.of([alice]) };
  await expect(evaluateQuorum(image, [], trust, { threshold: 2, vendors: 0 })).rejects.toThrow(
    /under two people/,
  );
});
