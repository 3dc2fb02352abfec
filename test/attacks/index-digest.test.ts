import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import { evaluateQuorum } from "../../trust/quorum/quorum.ts";
import { parseRoster } from "../../trust/quorum/roster.ts";
import { parsePinnedImage } from "../../trust/signatures/image-reference.ts";
import { digest, maintainersOf, newKey, payload, signedBy } from "../support/builders/maintainers.ts";

test("a signature of a manifest does not count for its index, nor the reverse", async () => {
  const index = JSON.stringify({ schemaVersion: 2, manifests: [{ digest, size: 1 }] });
  const indexDigest = `sha256:${createHash("sha256").update(index).digest("hex")}`;
  const alice = await newKey("alice");
  const trust = {
    roster: parseRoster(maintainersOf({ alice: { keys: [alice] } })),
    keyring: await Keyring.of([alice]),
  };
  const pairs = [
    [digest, indexDigest],
    [indexDigest, digest],
  ] as const;
  for (const [signed, asked] of pairs) {
    const bytes = await signedBy(alice, payload({ manifest: signed }));
    const image = parsePinnedImage(`stagex/core-seed:1.0@${asked}`);
    const outcome = await evaluateQuorum(image, [{ file: "signature-1", bytes }], trust, {
      threshold: 1,
      vendors: 0,
    });
    expect(outcome).toMatchObject({ met: false, rejected: [{ code: "other-digest" }] });
  }
});
