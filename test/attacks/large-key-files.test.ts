import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Keyring } from "../../trust/openpgp/keyring.ts";

/** The size in bytes of the largest allowed file among the keys. */
const size = 16 * 2 ** 20;

test.each([
  ["line ends", "\n"],
  ["carriage returns", "\r"],
  ["blanks", " "],
  ["dashes", "-"],
  ["quotes", ">"],
  ["one line of base64", "A"],
  ["BEGIN lines", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"],
  ["END lines", "-----END PGP PUBLIC KEY BLOCK-----\n"],
])("a file of %s among the keys is read in seconds, and makes no key", async (_, piece) => {
  const folder = mkdtempSync(join(tmpdir(), "large-keys-"));
  try {
    writeFileSync(join(folder, "key"), piece.repeat(Math.floor(size / piece.length)));
    const start = process.cpuUsage();
    const { certificates } = await Keyring.load(folder);
    const { user } = process.cpuUsage(start);
    expect(certificates.size).toBe(0);
    expect(user / 1e6).toBeLessThan(5);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
