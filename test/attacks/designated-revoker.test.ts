import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Fingerprint } from "../../trust/openpgp/fingerprint.ts";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import { evaluateQuorum, type QuorumVerdict } from "../../trust/quorum/quorum.ts";
import { parseRoster } from "../../trust/quorum/roster.ts";
import { GpgHome } from "../support/builders/gpg-home.ts";
import { binaryOf, type Files, keyFolder, verdictOf, writeKeyFile } from "../support/builders/key-folder.ts";
import { codesOf, digest, image, payload } from "../support/builders/maintainers.ts";
import { stagex } from "../support/programs/stagex-command.ts";

/** Real gpg makes the keys, as openpgp.js supports no designated revokers. */
let gpg: GpgHome;
let victim: Fingerprint;
let revoker: Fingerprint;
let stranger: Fingerprint;
let signature: Buffer;
/** The victim's certificate before its revocation, and with it; the revocation as gpg gives it out, and its packet alone. */
let good: Buffer;
let revoked: Buffer;
let file: string;
let packet: Buffer;

function answering(answers: string, ...args: readonly string[]): Buffer {
  return answeringIn(gpg, answers, ...args);
}

function answeringIn(home: GpgHome, answers: string, ...args: readonly string[]): Buffer {
  const always = [
    "--homedir",
    home.folder,
    "--no-tty",
    "--quiet",
    "--pinentry-mode=loopback",
    "--passphrase=",
  ];
  const options = { input: answers, stdio: ["pipe", "pipe", "ignore"] as ["pipe", "pipe", "ignore"] };
  return execFileSync("gpg", [...always, "--command-fd=0", ...args], options);
}

/** The revocation of a primary key among packets in the old format that gpg writes: a version 4 signature of the type 0x20. */
function revocationIn(bytes: Buffer): Buffer {
  for (let at = 0; at < bytes.length; ) {
    const octets = 2 ** (bytes.readUInt8(at) & 3);
    const body = at + 1 + octets;
    const end = body + bytes.readUIntBE(at + 1, octets);
    const isSignature = (bytes.readUInt8(at) & 0x3c) >> 2 === 2;
    if (isSignature && bytes.readUInt8(body + 1) === 0x20) return bytes.subarray(at, end);
    at = end;
  }
  throw new Error("no revocation");
}

beforeAll(async () => {
  gpg = await GpgHome.create();
  victim = gpg.newKey("victim", "ed25519");
  revoker = gpg.newKey("revoker", "rsa2048");
  stranger = gpg.newKey("stranger", "ed25519");
  answering(`addrevoker\n${revoker}\ny\naddrevoker\n${stranger}\ny\nsave\n`, "--edit-key", victim);
  const folder = join(gpg.folder, "files");
  writeKeyFile(folder, "payload", payload({ optional: { cpuVendor: "AuthenticAMD" } }));
  gpg.run(
    `-u${victim}!`,
    "--digest-algo=SHA512",
    "--no-armor",
    `-o${join(folder, "s")}`,
    "--sign",
    join(folder, "payload"),
  );
  signature = execFileSync("cat", [join(folder, "s")]);
  good = gpg.run("--export", victim);
  answering("y\n1\nstolen\n\ny\n", `-o${join(folder, "rev")}`, "--desig-revoke", victim);
  file = execFileSync("cat", [join(folder, "rev")], { encoding: "utf8" });
  gpg.run("--import", join(folder, "rev"));
  revoked = gpg.run("--export", victim);
  packet = revocationIn(await binaryOf(file));
});

afterAll(() => gpg[Symbol.asyncDispose]());

const roster = () =>
  `[people.ann]\n[keys.ann.k]\nid = "${victim}"\n[machines.ann.m]\nbrand = "AMD"\n[people.zoe]\n[keys.zoe.k]\nid = "${revoker}"\n`;
const keyOf = (fingerprint: string) => gpg.run("--export", fingerprint);

async function outcomeOf(files: Files): Promise<QuorumVerdict> {
  const keyring = await Keyring.load(await keyFolder(files));
  const rule = { threshold: 1, vendors: 1 };
  return await evaluateQuorum(
    image,
    [{ file: "signature-1", bytes: signature }],
    { roster: parseRoster(roster()), keyring },
    rule,
  );
}

test("without a revocation the designation changes nothing", async () => {
  expect(verdictOf(await outcomeOf({ v: good, r: keyOf(revoker) }))).toBe("met");
  expect(verdictOf(await outcomeOf({ v: good }))).toBe("met");
});

describe("a key that its designated revoker has revoked does not count", () => {
  const ways: Readonly<Record<string, () => Files>> = {
    "in the certificate": () => ({ v: revoked, r: keyOf(revoker) }),
    "in one copy of two": () => ({ 1: good, 2: revoked, r: keyOf(revoker) }),
    "in one copy of two, the other way round": () => ({ 1: revoked, 2: good, r: keyOf(revoker) }),
    "in a file of its own, as gpg gives it out": () => ({ v: good, "rev.asc": file, r: keyOf(revoker) }),
    "as the signature alone": () => ({ v: good, "rev.gpg": packet, r: keyOf(revoker) }),
    "behind its revoker's certificate": () => ({ v: good, r: Buffer.concat([keyOf(revoker), packet]) }),
    "behind a stranger's certificate": () => ({
      ...{ v: good, r: keyOf(revoker), s: Buffer.concat([keyOf(stranger), packet]) },
    }),
  };
  test.each(Object.entries(ways))("%s", async (_, files) => {
    const outcome = await outcomeOf(files());
    expect(codesOf(outcome)).toEqual({ "signature-1": "revoked-key" });
    expect(outcome.rejected[0]?.reason).toContain(`revoked by its designated revoker ${revoker}`);
    expect(verdictOf(outcome)).toBe("not met");
  });
});

describe("without the revoker's key, the key is in doubt", () => {
  const ways: Readonly<Record<string, () => Files>> = {
    "in the certificate": () => ({ v: revoked }),
    "in a file of its own": () => ({ v: good, "rev.asc": file }),
    "as the signature alone": () => ({ v: good, "rev.gpg": packet }),
  };
  test.each(Object.entries(ways))("%s", async (_, files) => {
    const outcome = await outcomeOf(files());
    expect(verdictOf(outcome)).toBe("can't tell");
    expect(outcome.doubts.join()).toContain(`${revoker}`);
    expect(outcome.doubts.join()).toContain("put it among the keys");
  });
});

test("applies a revocation by a revoker that was revoked later, as gpg does", async () => {
  const revocation = execFileSync("sed", [
    "s/^:-----/-----/",
    join(gpg.folder, "openpgp-revocs.d", `${revoker}.rev`),
  ]);
  const files = { v: revoked, r: keyOf(revoker), "r.rev": revocation };
  expect(codesOf(await outcomeOf(files))).toEqual({ "signature-1": "revoked-key" });
});

test("applies a revoker's own revocation to the revoker, wherever it stands", async () => {
  const path = join(gpg.folder, "openpgp-revocs.d", `${revoker}.rev`);
  const own = await binaryOf(execFileSync("sed", ["s/^:-----/-----/", path], { encoding: "utf8" }));
  const files = { v: Buffer.concat([good, own]), r: keyOf(revoker) };
  const keyring = await Keyring.load(await keyFolder(files));
  expect(keyring.keysOf(revoker)[0]?.revoked).toBe("revoked");
  expect(verdictOf(await outcomeOf(files))).toBe("met");
});

test("ignores a revocation by a known stranger, and doubts one by an unknown", async () => {
  const other = await GpgHome.create();
  try {
    const mallory = other.newKey("mallory", "ed25519");
    const theirs = execFileSync(
      "sed",
      ["s/^:-----/-----/", join(other.folder, "openpgp-revocs.d", `${mallory}.rev`)],
      {
        encoding: "utf8",
      },
    );
    const appended = Buffer.concat([
      good.subarray(0, 2 + (good[1] ?? 0)),
      await binaryOf(theirs),
      good.subarray(2 + (good[1] ?? 0)),
    ]);
    // Without the key that it names it can't be told from the victim's own, damaged where it names its issuer.
    expect(verdictOf(await outcomeOf({ v: appended }))).toBe("can't tell");
    expect(verdictOf(await outcomeOf({ v: appended, m: other.run("--export", mallory) }))).toBe("met");
    expect(verdictOf(await outcomeOf({ v: good, m: theirs }))).toBe("can't tell");
  } finally {
    await other[Symbol.asyncDispose]();
  }
});

test("doubts a revocation by a designated revoker that does not verify", async () => {
  const damaged = Buffer.from(packet);
  damaged.writeUInt8(damaged.readUInt8(damaged.length - 5) ^ 1, damaged.length - 5);
  expect(verdictOf(await outcomeOf({ v: good, "rev.gpg": damaged, r: keyOf(revoker) }))).toBe("can't tell");
});

test("reads a few of very many designated revokers, and doubts the key", {
  timeout: 60_000,
}, async () => {
  const other = await GpgHome.create();
  try {
    const owner = other.newKey("owner", "ed25519");
    const many = Array.from({ length: 21 }, (_, index) => other.newKey(`revoker${index}`, "ed25519"));
    const answers = many.map((one) => `addrevoker\n${one}\ny\n`).join("");
    answeringIn(other, `${answers}save\n`, "--edit-key", owner);
    const keyring = await Keyring.load(await keyFolder({ o: other.run("--export", owner) }));
    expect(keyring.doubts).toEqual([
      { reason: `${owner} names 21 designated revokers; 20 are heeded`, keys: [owner] },
    ]);
  } finally {
    await other[Symbol.asyncDispose]();
  }
});

test("`stagex verify` exits 1, as gpg says that the key has been revoked; 2 without the revoker's key", async () => {
  const folder = await keyFolder({
    MAINTAINERS: roster(),
    "keys/v.gpg": revoked,
    "keys/r.gpg": keyOf(revoker),
  });
  writeKeyFile(folder, `s/stagex/core-seed@sha256=${digest.slice(7)}/signature-1`, signature);
  const verify = (keys: string) =>
    stagex(
      ...["verify", "--image", `stagex/core-seed:1.0@${digest}`, "--threshold", "1", "--vendors", "1"],
      ...["--signatures", join(folder, "s"), "--maintainers", join(folder, "MAINTAINERS"), "--keys", keys],
    );
  expect(await verify(join(folder, "keys"))).toMatchObject({
    code: 1,
    stdout: expect.stringContaining("revoked-key"),
  });
  const alone = await verify(join(folder, "keys/v.gpg"));
  expect(alone).toMatchObject({ code: 2, stdout: expect.stringContaining("whose key is missing") });
});
