import { readKey } from "openpgp";
import { expect } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { Keyring } from "../../../trust/openpgp/keyring.ts";
import { SignatureRejection } from "../../../trust/openpgp/signature-rejection.ts";
import { verifySignedMessage } from "../../../trust/openpgp/signed-message.ts";
import { parsePayload } from "../../../trust/signatures/simple-signing.ts";
import { gpgHome, newKey, payload, signedBy } from "../../support/builders/maintainers.ts";
import { fuzz } from "./fuzzer.ts";

/**
 * Alters messages by gpg, packed and not, and by openpgp.js. An accepted message must have the
 * signed text and its real signer.
 */
fuzz("signature", async () => {
  const { gpg, newKey: gpgKey } = await gpgHome();
  const fingerprints = [gpgKey("ash", "ed25519"), gpgKey("hazel", "rsa3072"), gpgKey("rowan", "nistp256")];
  const rest = await newKey("elm");
  const certificates = await Promise.all(
    fingerprints.map((fingerprint) => readKey({ binaryKey: gpg(["--export", fingerprint]) })),
  );
  const keyring = await Keyring.of([...certificates, rest]);
  const said = new Map<string, Buffer>();
  const seeds: Buffer[] = [];
  for (const [index, fingerprint] of fingerprints.entries()) {
    const content = Buffer.from(
      payload({ reference: `stagex/core-x:${index}`, manifest: digestOf(String(index)) }),
    );
    said.set(fingerprint, content);
    for (const packed of ["zip", "none"]) {
      const how = [
        "--compress-algo",
        packed,
        "--digest-algo",
        "SHA512",
        "--no-armor",
        "--local-user",
        `${fingerprint}!`,
      ];
      seeds.push(gpg([...how, "--sign"], content));
    }
  }
  said.set(rest.getFingerprint().toUpperCase(), Buffer.from(payload()));
  seeds.push(Buffer.from(await signedBy(rest)));
  return {
    seeds,
    dictionary: ["\x90\x0d\x03", "\xcb", "\xc2", "\xa3\x01", "-----BEGIN PGP MESSAGE-----\n"],
    expected: [SignatureRejection],
    async read(input) {
      const { content, fingerprint } = await verifySignedMessage(input, keyring);
      expect(Buffer.from(content)).toEqual(said.get(fingerprint.toUpperCase()));
      parsePayload(content);
    },
  };
});

fuzz("payload", () => ({
  seeds: [
    Buffer.from(payload()),
    Buffer.from(payload({ optional: { creator: "x", timestamp: 1, arch: "amd64" } })),
  ],
  dictionary: [
    '"critical"',
    '"optional"',
    '"type"',
    '"image"',
    "sha256:",
    "{}",
    "[]",
    "null",
    "\\u0000",
    '"docker-reference"',
  ],
  expected: [SignatureRejection],
  read(input) {
    const { digest, reference } = parsePayload(input);
    // JSON.parse takes the last of two members, others the first: where both are taken, they agree.
    const { critical } = JSON.parse(input.toString("utf8"));
    expect(digest).toBe(critical.image["docker-manifest-digest"]);
    expect(reference.endsWith(critical.identity["docker-reference"].split("/").at(-1))).toBe(true);
  },
}));
