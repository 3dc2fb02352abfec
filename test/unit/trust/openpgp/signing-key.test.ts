import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { encryptKey, type KeyOptions, readKey, readKeys } from "openpgp";
import { describe, expect, test } from "vitest";
import { parseFingerprint } from "../../../../trust/openpgp/fingerprint.ts";
import { Keyring } from "../../../../trust/openpgp/keyring.ts";
import { verifySignedMessage } from "../../../../trust/openpgp/signed-message.ts";
import {
  agentSigningKey,
  loadSigningKey,
  SigningCancelledError,
} from "../../../../trust/openpgp/signing-key.ts";
import { TrustError } from "../../../../trust/trust-error.ts";
import { gpgHome, newKey, payload } from "../../../support/builders/maintainers.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const bytes = Buffer.from(payload());

const ours: [string, Partial<Omit<KeyOptions, "format">>][] = [
  ["RSA", { type: "rsa", rsaBits: 2048 }],
  ["P-256", { type: "ecc", curve: "nistP256" }],
  ["Ed25519", { type: "ecc", curve: "ed25519Legacy" }],
];

describe("a key from a file", () => {
  test.each(ours)("makes signatures that gpg and gpgv accept: %s", async (_, options) => {
    const folder = await scratchFolder();
    const key = await newKey("alice", options);
    writeFileSync(join(folder, "key.asc"), key.armor());
    const signed = await (await loadSigningKey(join(folder, "key.asc"))).sign(bytes);
    const { gpg } = await gpgHome();
    gpg(["--import"], key.toPublic().write());
    expect(gpg(["--decrypt"], signed)).toEqual(bytes);
    writeFileSync(join(folder, "ring.gpg"), key.toPublic().write());
    writeFileSync(join(folder, "signature-1"), signed);
    execFileSync("gpgv", ["--quiet", "--keyring", join(folder, "ring.gpg"), join(folder, "signature-1")], {
      stdio: "pipe",
    });
  });

  test("signs with the primary key if its flags allow it, for podman before 4.6", async () => {
    const folder = await scratchFolder();
    const key = await newKey("alice", { subkeys: [{ sign: true }] });
    writeFileSync(join(folder, "key.gpg"), key.write());
    const signed = await (await loadSigningKey(join(folder, "key.gpg"))).sign(bytes);
    const verified = await verifySignedMessage(signed, await Keyring.of([key]));
    expect(verified.signingKey).toBe(key.getFingerprint().toUpperCase());
  });

  test("refuses a file with a passphrase, and a missing file", async () => {
    const folder = await scratchFolder();
    const locked = await encryptKey({ privateKey: await newKey("alice"), passphrase: "secret" });
    writeFileSync(join(folder, "key.asc"), locked.armor());
    await expect(loadSigningKey(join(folder, "key.asc"))).rejects.toThrow(/gpg-agent/);
    await expect(loadSigningKey(join(folder, "none.asc"))).rejects.toThrow(/no signing key/);
  });

  test("refuses to sign with a key that would not count", async () => {
    const folder = await scratchFolder();
    const expired = await newKey("alice", { keyExpirationTime: 3600 });
    writeFileSync(join(folder, "key.asc"), expired.armor());
    await expect(loadSigningKey(join(folder, "key.asc")).then((key) => key.sign(bytes))).rejects.toThrow(
      /expired|valid signing key/,
    );
  });
});

/** A key with a passphrase, and a pinentry that answers the question for it with these shell commands. */
async function lockedKey(answer: string) {
  const { home, gpg } = await gpgHome();
  const pinentry = join(home, "pinentry.sh");
  const loop = `while read -r line; do case "$line" in GETPIN*) ${answer} ;; BYE*) exit ;; *) echo OK ;; esac; done`;
  writeFileSync(pinentry, `#!/bin/sh\necho OK\n${loop}\n`, { mode: 0o755 });
  writeFileSync(join(home, "gpg-agent.conf"), `pinentry-program ${pinentry}\ns2k-count 65536\n`);
  const args = ["--quick-gen-key", "alice <alice@seed-tree.example>", "ed25519", "sign", "1y"];
  gpg(["--passphrase=secret", ...args]);
  const certificate = await readKey({ binaryKey: gpg(["--export"]) });
  const fingerprint = parseFingerprint(certificate.getFingerprint());
  execFileSync("gpgconf", ["--homedir", home, "--kill", "gpg-agent"]);
  return { home, fingerprint, keyring: await Keyring.of([certificate]) };
}

describe("a key in gpg-agent", () => {
  test.each(["rsa2048", "nistp256", "ed25519"])("makes valid signatures: %s", async (algorithm) => {
    const { home, gpg, newKey } = await gpgHome();
    const fingerprint = parseFingerprint(newKey("alice", algorithm));
    // Whatever the user has set: what comes out is binary and not text, and never expires.
    writeFileSync(
      join(home, "gpg.conf"),
      "armor\ntextmode\ndigest-algo SHA256\ndefault-sig-expire 7d\npinentry-mode loopback\n",
    );
    const keyring = await Keyring.of([await readKey({ binaryKey: gpg(["--no-armor", "--export"]) })]);
    const said: string[] = [];
    const key = agentSigningKey(fingerprint, { keyring, home });
    const attended = { onProgress: (words: string) => said.push(words) };
    const [signed, again] = await Promise.all([key.sign(bytes, attended), key.sign(bytes)]);
    const verified = await verifySignedMessage(signed, keyring);
    expect(verified).toMatchObject({ fingerprint, signingKey: fingerprint });
    expect(verified).not.toHaveProperty("expires");
    expect(Buffer.from(verified.content)).toEqual(bytes);
    expect(again.length).toBeGreaterThan(bytes.length);
    expect(said).toEqual(["touch your key", "signed"]);
  });

  test("signs with exactly the named key, even if gpg would choose a newer one", async () => {
    const { home, gpg, newKey } = await gpgHome();
    const fingerprint = parseFingerprint(newKey("alice", "ed25519"));
    gpg(["--quick-add-key", fingerprint, "ed25519", "sign", "1y"]);
    const keyring = await Keyring.of(await readKeys({ binaryKeys: gpg(["--export"]) }));
    const signed = await agentSigningKey(fingerprint, { keyring, home }).sign(bytes);
    expect((await verifySignedMessage(signed, keyring)).signingKey).toBe(fingerprint);
  });

  test("reports why gpg did not sign", async () => {
    const { home } = await gpgHome();
    const key = await newKey("stranger");
    const keyring = await Keyring.of([key]);
    const signer = agentSigningKey(parseFingerprint(key.getFingerprint()), { keyring, home });
    await expect(signer.sign(bytes)).rejects.toThrow(/gpg did not sign with [0-9A-F]{40}: .*No secret key/s);
  });

  test("reports a cancelled PIN as a refusal, and does not ask again", async () => {
    const { fingerprint, home, keyring } = await lockedKey("echo 'ERR 83886179 Operation cancelled'");
    await expect(agentSigningKey(fingerprint, { keyring, home }).sign(bytes)).rejects.toSatisfy(
      (error: Error) =>
        error instanceof SigningCancelledError && /pinentry was cancelled/.test(error.message),
    );
  });

  test("reports a wrong PIN as an error with a hint, not as a refusal", async () => {
    const { fingerprint, home, keyring } = await lockedKey("echo 'D wrong'; echo OK");
    await expect(agentSigningKey(fingerprint, { keyring, home }).sign(bytes)).rejects.toSatisfy(
      (error: Error) =>
        error instanceof TrustError &&
        !(error instanceof SigningCancelledError) &&
        /Bad passphrase; the passphrase was wrong/.test(error.message),
    );
  });

  test("stops waiting for a pinentry after the timeout, and on interruption", async () => {
    const { fingerprint, home, keyring } = await lockedKey("sleep 30");
    const key = agentSigningKey(fingerprint, { keyring, home });
    const said: string[] = [];
    const late = { signal: AbortSignal.timeout(700), onProgress: (words: string) => said.push(words) };
    await expect(key.sign(bytes, late)).rejects.toThrow(/waited too long/);
    expect(said).toContain("enter the PIN or passphrase");
    const ended = new AbortController();
    setTimeout(() => ended.abort(new Error("ended by the user")), 300);
    await expect(key.sign(bytes, { signal: ended.signal })).rejects.toThrow("ended by the user");
  });

  test("returns no signature by a key that is not in the keyring", async () => {
    const { home, newKey: gpgKey } = await gpgHome();
    const fingerprint = parseFingerprint(gpgKey("alice", "ed25519"));
    const keyring = await Keyring.of([await newKey("bob")]);
    await expect(agentSigningKey(fingerprint, { keyring, home }).sign(bytes)).rejects.toThrow(
      /would not count/,
    );
  });
});

test.each(["rsa3072", "nistp256", "nistp384", "ed25519"])(
  "what gpg signs by itself, packed as it likes, verifies here: %s",
  async (algorithm) => {
    const { gpg, newKey } = await gpgHome();
    newKey("alice", algorithm);
    const keyring = await Keyring.of([await readKey({ binaryKey: gpg(["--export"]) })]);
    for (const packing of ["none", "zip", "zlib", "bzip2"]) {
      const signed = gpg([`--compress-algo=${packing}`, "--sign"], bytes);
      expect(Buffer.from((await verifySignedMessage(signed, keyring)).content)).toEqual(bytes);
    }
  },
);
