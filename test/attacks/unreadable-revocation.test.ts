import { execFileSync } from "node:child_process";
import { symlinkSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { enums, type PrivateKey } from "openpgp";
import { beforeAll, describe, expect, test } from "vitest";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import {
  type Files,
  judgedWith,
  keyFolder,
  loneRevocation,
  revocable,
  verdictOf,
  writeKeyFile,
} from "../support/builders/key-folder.ts";
import { digest, maintainersOf, newKey, signedBy } from "../support/builders/maintainers.ts";
import { stagex } from "../support/programs/stagex-command.ts";

let alice: PrivateKey;
let bob: PrivateKey;
let signature: Uint8Array;
let armored: string;
let binary: Buffer;
let foreign: string;

beforeAll(async () => {
  ({ key: alice, signature, armored, revocation: binary } = await revocable("alice"));
  bob = await newKey("bob");
  foreign = await loneRevocation(await newKey("mallory"));
});

const certificate = () => alice.toPublic().armor();
const utf16 = (text: string, mark = "\ufeff") => Buffer.from(mark + text, "utf16le");
const swapped = (text: string, mark?: string) => utf16(text, mark).swap16();
const utf32 = (text: string, mark = "\ufeff") =>
  Buffer.from(Uint32Array.from([...`${mark}${text}`], (one) => one.codePointAt(0) ?? 0).buffer);

/** What Alice's signature comes to where her certificate lies beside these files. */
async function verdict(files: Files, prepare: (folder: string) => void = () => {}): Promise<string> {
  const folder = await keyFolder({ "alice.asc": certificate(), ...files });
  prepare(folder);
  return verdictOf(await judgedWith(folder, [signature], { alice: { keys: [alice] } }));
}

describe("a revocation is applied wherever and however users of gpg keep it", () => {
  const ways: Readonly<Record<string, () => Files>> = {
    "as gpg writes it": () => ({ "rev.asc": armored }),
    binary: () => ({ "rev.gpg": binary }),
    "without an extension": () => ({ alice: armored }),
    "behind a byte order mark": () => ({ "rev.asc": `\ufeff${armored}` }),
    "in UTF-16, as PowerShell writes it": () => ({ "rev.asc": utf16(armored) }),
    "in UTF-16, big-endian": () => ({ "rev.asc": swapped(armored) }),
    "in UTF-16 without a byte order mark": () => ({ "rev.asc": utf16(armored, "") }),
    "in UTF-16, big-endian, without a byte order mark": () => ({ "rev.asc": swapped(armored, "") }),
    "in UTF-32": () => ({ "rev.asc": utf32(armored) }),
    "in UTF-32 without a byte order mark": () => ({ "rev.asc": utf32(armored, "") }),
    "with CRLF line ends": () => ({ "rev.asc": armored.replace(/\r?\n/g, "\r\n") }),
    "behind a letter": () => ({
      "rev.asc": `Dear all,\n\nmy key is gone: Schlüssel weg.\n\n${armored}\nYours\n`,
    }),
    "behind a letter in Latin-1": () => ({
      "rev.asc": Buffer.from(`Schl\xfcssel weg\n${armored}`, "latin1"),
    }),
    "behind another block": () => ({ "rev.asc": `${bob.toPublic().armor()}\n${armored}` }),
    "binary, behind an armored block": () => ({
      "rev.asc": Buffer.concat([Buffer.from(certificate()), binary]),
    }),
    "in a sub-folder": () => ({ "revoked/rev.asc": armored }),
    "several folders down": () => ({ "a/b/c/d/e/rev.asc": armored }),
    "beside much that is no key": () => ({ ...noKeys, "rev.asc": armored }),
  };
  test.each(Object.entries(ways))("%s", async (_, files) => {
    expect(await verdict(files())).toBe("not met");
  });
});

describe("an unreadable or inapplicable possible revocation puts keys in doubt", () => {
  const ways: Readonly<Record<string, () => Files>> = {
    "no END line": () => ({ "rev.asc": armored.slice(0, armored.indexOf("-----END")) }),
    "no BEGIN line": () => ({ "rev.asc": armored.slice(armored.indexOf("\n") + 1) }),
    "its base64 alone": () => ({
      "rev.asc": `${binary
        .toString("base64")
        .match(/.{1,64}/g)
        ?.join("\n")}\n`,
    }),
    "a damaged BEGIN line": () => ({ "rev.asc": armored.replace("-----BEGIN", "----BEGIN") }),
    "behind a block without an END line": () => ({
      "both.asc": `${bob
        .toPublic()
        .armor()
        .replace(/-----END.*/, "")}\n${foreign}`,
    }),
    "in a clear-signed message": () => ({
      "letter.asc": `-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n${armored.replace(/^-/gm, "- -")}\n${bob.toPublic().armor().replaceAll("PUBLIC KEY BLOCK", "SIGNATURE")}`,
    }),
    "quoted in a letter": () => ({ "rev.asc": armored.replace(/^/gm, "> ") }),
    "cut off": () => ({ "rev.gpg": binary.subarray(0, -9) }),
    packed: () => ({ "rev.gz": gzipSync(armored) }),
    "of a key that is not here": () => ({ "rev.asc": foreign }),
    "of an unknown version": () => ({
      "rev.gpg": Buffer.concat([binary.subarray(0, 2), Buffer.from([9]), binary.subarray(3)]),
    }),
    "a certificate without its start": () => ({
      "rest.gpg": Buffer.from(alice.toPublic().write()).subarray(53),
    }),
    "more folders down than are entered": () => ({ [`${"f/".repeat(12)}rev.asc`]: armored }),
    "GnuPG's keybox": () => ({
      "pubring.kbx": Buffer.from("\0\0\0\x20\x01\x01\0\x02KBXf\0\0\0\0", "latin1"),
    }),
    "a private key of the same": () => ({ "mine.asc": alice.armor() }),
    "in HTML": () => ({ "page.html": `<p>gone<br>${armored.replaceAll("\n", "<br>")}</p>\n` }),
    "in a line of JSON": () => ({ "key.json": `${JSON.stringify({ revocation: armored })}\n` }),
    "behind the header of a picture": () => ({
      "alice.png": Buffer.concat([noKeys["alice.png"] as Buffer, Buffer.from(armored)]),
    }),
    "an empty file, as a failed export leaves it": () => ({ "rev.asc": "" }),
    "prose with a whole BEGIN line in it, which could be one": () => ({
      README: "It begins with -----BEGIN PGP PUBLIC KEY BLOCK-----, and ends so.\n",
    }),
  };
  test.each(Object.entries(ways))("%s", async (_, files) => {
    expect(await verdict(files())).toBe("can't tell");
  });

  const paths: Readonly<Record<string, (folder: string) => void>> = {
    "a link to it": (folder) => {
      writeKeyFile(folder, ".away/rev.asc", armored);
      symlinkSync(".away/rev.asc", join(folder, "rev.asc"));
    },
    "a link to nowhere": (folder) => symlinkSync("gone", join(folder, "rev.asc")),
    "a link to a folder": (folder) => symlinkSync(".", join(folder, "round")),
    "a pipe": (folder) => execFileSync("mkfifo", [join(folder, "rev.asc")]),
    "a device": (folder) => symlinkSync("/dev/zero", join(folder, "rev.asc")),
    "a file without end": (folder) => {
      writeKeyFile(folder, "rev.asc", armored);
      truncateSync(join(folder, "rev.asc"), 2 ** 40);
    },
  };
  test.each(Object.entries(paths))("%s", async (_, prepare) => {
    expect(await verdict({}, prepare)).toBe("can't tell");
  });

  test("a revocation of a subkey alone puts the key in doubt", async () => {
    const [subkey] = alice.subkeys;
    // @ts-expect-error openpgp.js has the primary key's packet as secret here, and its types do not.
    const revoked = await subkey?.revoke(alice.keyPacket, { flag: enums.reasonForRevocation.keySuperseded });
    const [alone] = revoked?.revocationSignatures ?? [];
    const body = Buffer.from(alone?.write() ?? "");
    expect(await verdict({ "rev.gpg": Buffer.concat([Buffer.from([0xc2, body.length]), body]) })).toBe(
      "can't tell",
    );
  });
});

const noKeys: Files = {
  README:
    "Keys of those who sign.\nA file of them begins with BEGIN PGP PUBLIC KEY BLOCK between dashes, and ends so.\n",
  "README.md": Buffer.from("# Schl\xfcssel\n", "latin1"),
  Makefile: "all:\n\tgpg --export > all.gpg\n",
  ".gitignore": "*.kbx\n",
  "update.sh": '#!/bin/sh\ngpg --recv-keys "$@"\n',
  SHA256SUMS: `${"0a".repeat(32)}  alice.asc\n`,
  hash: `${"0a".repeat(64)}\n`,
  "id_ed25519.pub": `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5${"A".repeat(60)} alice@seed-tree.example\n`,
  "ca.pem": `-----BEGIN CERTIFICATE-----\n${"MIIB".repeat(16)}\n-----END CERTIFICATE-----\n`,
  LIESMICH: "\u00c4u\u00dferst wichtige Schl\u00fcssel\n",
  "alice.png": Buffer.from("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "latin1"),
  "alice.jpg": Buffer.from("ffd8ffe000104a464946", "hex"),
  "page.html": `<!doctype html><img src="data:image/png;base64,${"A".repeat(200)}">\n`,
  notes: utf16("Schlüssel"),
};

test.each(Object.entries(noKeys))("ignores %s, which is clearly no OpenPGP", async (name, content) => {
  expect(await verdict({ [name]: content })).toBe("met");
});

test("a folder with too many files is not read in part", async () => {
  const folder = await keyFolder({ "alice.asc": certificate() });
  for (let one = 0; one < 4100; one++) writeKeyFile(folder, `${one}`, "");
  await expect(Keyring.load(folder)).rejects.toThrow(/more than the 4096 files/);
});

test("reports a revocation that gpg has disarmed with a colon, and does not apply it", async () => {
  const folder = await keyFolder({ "alice.asc": certificate(), "alice.rev": `How to use it\n\n:${armored}` });
  const keyring = await Keyring.load(folder);
  expect(keyring).toMatchObject({
    doubts: [],
    skipped: [{ file: "alice.rev", reason: expect.stringContaining("colon") }],
  });
  expect(await verdict({ "alice.rev": `:${armored}` })).toBe("met");
});

describe("a doubt affects an image only if it could change the outcome", () => {
  const people = () => ({ alice: { keys: [alice] }, bob: { keys: [bob] } });
  const both = async () => [await signedBy(alice), await signedBy(bob)];

  test("meets the quorum if the other keys do", async () => {
    const files = { "alice.asc": certificate(), "bob.asc": bob.toPublic().armor() };
    // A private key says whose certificate it is, so Bob's signature hangs on nothing.
    const folder = await keyFolder({ ...files, "mine.asc": alice.armor() });
    expect(verdictOf(await judgedWith(folder, await both(), people()))).toBe("met");
    expect(verdictOf(await judgedWith(folder, await both(), people(), { threshold: 2, vendors: 0 }))).toBe(
      "can't tell",
    );
    expect(verdictOf(await judgedWith(folder, [await signedBy(bob)], people()))).toBe("met");
  });

  test("puts all images in doubt if it may concern any key", async () => {
    const folder = await keyFolder({
      "alice.asc": certificate(),
      "bob.asc": bob.toPublic().armor(),
      "3.asc": foreign,
    });
    expect(verdictOf(await judgedWith(folder, await both(), people()))).toBe("can't tell");
  });

  test("answers no if there is no quorum even with the key in doubt", async () => {
    const folder = await keyFolder({ "alice.asc": certificate(), "3.asc": foreign });
    const outcome = await judgedWith(folder, [signature], people(), { threshold: 2, vendors: 0 });
    expect(outcome).toMatchObject({ met: false, people: 1, doubts: [] });
  });

  test("counts a second signature by the same person with a key that is not in doubt", async () => {
    const spare = await newKey("alice2");
    const folder = await keyFolder({
      "alice.asc": certificate(),
      "spare.asc": spare.toPublic().armor(),
      "mine.asc": alice.armor(),
    });
    const signatures = [await signedBy(alice), await signedBy(spare)];
    expect(verdictOf(await judgedWith(folder, signatures, { alice: { keys: [alice, spare] } }))).toBe("met");
  });
});

/** The same bits every time: linear congruential, as in Numerical Recipes. */
function* bits(seed: number): Generator<number> {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state >>> 29;
  }
}

test("never ignores a revocation with one flipped bit", { timeout: 300_000 }, async () => {
  const folder = await keyFolder({ "alice.asc": certificate() });
  const people = { alice: { keys: [alice] } };
  const random = bits(2026);
  const unseen: string[] = [];
  const flipped = (bytes: Buffer, at: number, bit: number) => {
    const damaged = Buffer.from(bytes);
    damaged.writeUInt8(damaged.readUInt8(at) ^ (1 << bit), at);
    return damaged;
  };
  const tries = [
    ...Array.from({ length: binary.length * 8 }, (_, at) => flipped(binary, at >> 3, at & 7)),
    ...Array.from({ length: armored.length }, (_, at) =>
      flipped(Buffer.from(armored), at, random.next().value ?? 0),
    ),
    ...Array.from({ length: binary.length / 3 }, (_, at) => binary.subarray(0, at * 3 + 1)),
  ];
  for (const damaged of tries) {
    writeKeyFile(folder, "rev", damaged);
    if (verdictOf(await judgedWith(folder, [signature], people)) === "met")
      unseen.push(damaged.toString("latin1"));
  }
  expect(tries.length).toBeGreaterThan(1000);
  // One bit away from a revocation (type 0x20) is a signature of a document (0x00), such as people put beside their keys.
  const document = Buffer.from(binary);
  document.writeUInt8(0, 3);
  expect(unseen).toEqual([document.toString("latin1")]);
});

test.each([
  ["read, it revokes: exit 1", () => utf16(armored), 1, /revoked-key/],
  [
    "unreadable: exit 2, with the file and what to do",
    () => foreign,
    2,
    /not known: 1 of 1 people \(alice\), but keys may be revoked: rev\.asc: it is a revocation by/,
  ],
] as const)("`stagex verify`: %s", async (_, content, code, words) => {
  const folder = await keyFolder({ "keys/alice.asc": certificate(), "keys/rev.asc": content() });
  writeKeyFile(folder, "MAINTAINERS", maintainersOf({ alice: { keys: [alice] } }));
  writeKeyFile(folder, `s/stagex/core-seed@sha256=${digest.slice(7)}/signature-1`, signature);
  const paths = [
    "--signatures",
    join(folder, "s"),
    "--maintainers",
    join(folder, "MAINTAINERS"),
    "--keys",
    join(folder, "keys"),
  ];
  const rule = ["--threshold", "1", "--vendors", "0"];
  const ended = await stagex("verify", "--image", `stagex/core-seed:1.0@${digest}`, ...paths, ...rule);
  expect(ended.stdout).toMatch(words);
  expect(ended.code).toBe(code);
});
