import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { pathsOf } from "../../../../lib/paths.ts";
import { openSigningKey, requirePerson, Signer } from "../../../../pipeline/context/signer.ts";
import { parseFingerprint } from "../../../../trust/openpgp/fingerprint.ts";
import { Keyring } from "../../../../trust/openpgp/keyring.ts";
import { SigningCancelledError, type SigningKey } from "../../../../trust/openpgp/signing-key.ts";
import { parseRoster } from "../../../../trust/quorum/roster.ts";
import { maintainersOf, newKey } from "../../../support/builders/maintainers.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const fingerprint = parseFingerprint("A".repeat(40));
const never = new AbortController().signal;

/** A key that keeps what it was asked, and answers when it is told to. */
function keyThat(answer: (payload: string) => Promise<Uint8Array>): SigningKey {
  return {
    fingerprint,
    sign(payload, attended) {
      attended?.onProgress?.("touch your key");
      return answer(Buffer.from(payload).toString());
    },
  };
}

test("asks for one signature at a time and reports how many are left", async () => {
  let [atOnce, most] = [0, 0];
  const key = keyThat(async (payload) => {
    most = Math.max(most, ++atOnce);
    await new Promise((resolve) => setTimeout(resolve, 5));
    atOnce--;
    return Buffer.from(payload);
  });
  const signer = new Signer(async () => key);
  const said: string[] = [];
  const work = { signal: never, progress: (line: string) => said.push(line) };
  const signed = await Promise.all(["a", "b", "c"].map((text) => signer.sign(Buffer.from(text), work)));
  expect(signed.map(String)).toEqual(["a", "b", "c"]);
  expect(most).toBe(1);
  expect(said.filter((line) => line.startsWith("touch"))).toEqual([
    "touch your key: 1 of 3",
    "touch your key: 2 of 3",
    "touch your key: 3 of 3",
  ]);
});

test("does not ask again after a refusal; other failures stop only one signature", async () => {
  const asked: string[] = [];
  const key = keyThat(async (payload) => {
    asked.push(payload);
    if (payload === "broken") throw new Error("the card is gone");
    if (payload === "refused") throw new SigningCancelledError("not given");
    return Buffer.from(payload);
  });
  const signer = new Signer(async () => key);
  const work = { signal: never, progress: () => {} };
  const outcomes = await Promise.allSettled(
    ["broken", "good", "refused", "later", "last"].map((text) => signer.sign(Buffer.from(text), work)),
  );
  expect(outcomes.map(({ status }) => status)).toEqual([
    "rejected",
    "fulfilled",
    "rejected",
    "rejected",
    "rejected",
  ]);
  expect(asked).toEqual(["broken", "good", "refused"]);
});

test("does not ask after the run is cancelled", async () => {
  const asked: string[] = [];
  const key = keyThat(async (payload) => {
    asked.push(payload);
    return Buffer.of();
  });
  const work = { signal: AbortSignal.abort(new Error("cancelled")), progress: () => {} };
  await expect(new Signer(async () => key).sign(Buffer.of(1), work)).rejects.toThrow("cancelled");
  expect(asked).toEqual([]);
});

test("requires a key that exists and is the person's own", async () => {
  const folder = await scratchFolder();
  const [ash, hazel, stranger] = await Promise.all(["ash", "hazel", "stranger"].map((name) => newKey(name)));
  if (!ash || !hazel || !stranger) throw new Error("three keys");
  const people = { ash: { keys: [ash] }, hazel: { keys: [hazel] } };
  const trust = { roster: parseRoster(maintainersOf(people)), keyring: await Keyring.of([ash, hazel]) };
  for (const [name, key] of Object.entries({ ash, hazel, stranger }))
    writeFileSync(join(folder, `${name}.asc`), key.armor());
  const keyOf = (signingKey: string | undefined) =>
    openSigningKey({ signingKey }, pathsOf(folder), trust, requirePerson(trust, "ash"));
  expect((await keyOf("ash.asc")).fingerprint).toBe(ash.getFingerprint().toUpperCase());
  await expect(keyOf(undefined)).rejects.toThrow(/no key to sign with: .*stagex:signingKey.*sign export/);
  await expect(keyOf("hazel.asc")).rejects.toThrow(/is hazel's, not ash's \([0-9A-F]{40}\)/);
  await expect(keyOf("stranger.asc")).rejects.toThrow(/is nobody's in MAINTAINERS, not ash's/);
  await expect(keyOf(hazel.getFingerprint())).rejects.toThrow(/is hazel's/);
  await expect(keyOf("none.asc")).rejects.toThrow(/no signing key/);
  expect(() => requirePerson(trust, "rowan")).toThrow(/"rowan" is not in MAINTAINERS.*it has: ash, hazel/);
});
