import { execFileSync } from "node:child_process";
import { rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { keyFolder, writeKeyFile } from "../support/builders/key-folder.ts";
import { digest, maintainersOf, newKey, signedBy } from "../support/builders/maintainers.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";
import { type Ended, stagex } from "../support/programs/stagex-command.ts";

const secret = "s3cr3t-value";
const signatureFile = `s/stagex/core-seed@sha256=${digest.slice(7)}/signature-1`;

/**
 * Replacements for a file of a tree, a folder of keys or a lookaside. Each takes the place of the
 * file at `path`.
 */
const kinds: Readonly<Record<string, (path: string, elsewhere: string) => void>> = {
  "a link to a file with a secret": (path, elsewhere) => {
    writeFileSync(join(elsewhere, "credentials"), `[default]\naws_secret_access_key = ${secret} value\n`);
    symlinkSync(join(elsewhere, "credentials"), path);
  },
  "a link to the environment": (path) => symlinkSync("/proc/self/environ", path),
  "a pipe": (path) => execFileSync("mkfifo", [path]),
  "a device": (path) => symlinkSync("/dev/zero", path),
  "a file of a terabyte": (path) => {
    writeFileSync(path, "");
    truncateSync(path, 2 ** 40);
  },
};

async function verifyWith(place: string, prepare: (path: string, elsewhere: string) => void): Promise<Ended> {
  const alice = await newKey("alice");
  const folder = await keyFolder({
    MAINTAINERS: maintainersOf({ alice: { keys: [alice] } }),
    "keys/alice.asc": alice.toPublic().armor(),
    [signatureFile]: await signedBy(alice),
  });
  rmSync(join(folder, place));
  prepare(join(folder, place), await scratchFolder());
  const began = performance.now();
  const ended = await stagex(
    ...["verify", "--image", `stagex/core-seed:1.0@${digest}`, "--threshold", "1", "--vendors", "0"],
    ...["--signatures", join(folder, "s"), "--maintainers", join(folder, "MAINTAINERS")],
    ...["--keys", join(folder, "keys")],
  );
  expect(performance.now() - began).toBeLessThan(20_000);
  expect(ended.stdout + ended.stderr).not.toMatch(new RegExp(`${secret}|PATH=|internal error`));
  return ended;
}

describe("in place of MAINTAINERS it is an error without its content", () => {
  test.each(Object.entries(kinds))("%s", async (_, prepare) => {
    const ended = await verifyWith("MAINTAINERS", prepare);
    expect(ended).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/no roster: .*MAINTAINERS (?:is|has more)/),
    });
  });
});

describe("in place of a key it is not read", () => {
  test.each(Object.entries(kinds))("%s", async (_, prepare) => {
    const ended = await verifyWith("keys/alice.asc", prepare);
    expect(ended).toMatchObject({ code: 1, stderr: expect.stringMatching(/alice\.asc: it (?:is|has more)/) });
  });
});

describe("in place of a signature it is rejected", () => {
  test.each(Object.entries(kinds))("%s", async (_, prepare) => {
    const ended = await verifyWith(signatureFile, prepare);
    expect(ended).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/does not count \((?:not-a-file|too-large)\)/),
    });
  });
});

test("an error in a roster's TOML has the position and none of the text", async () => {
  const ended = await verifyWith("MAINTAINERS", (path) =>
    writeFileSync(path, `[people]\n\nkey = ${secret} value\n`),
  );
  expect(ended.code).toBe(2);
  expect(ended.stderr).toMatch(/MAINTAINERS is not TOML: line 3, column \d+: \w/);
});

test("does not enter a folder of keys that is a link", async () => {
  const alice = await newKey("alice");
  const folder = await keyFolder({ MAINTAINERS: maintainersOf({ alice: { keys: [alice] } }), "s/x": "" });
  writeKeyFile(folder, "away/alice.asc", alice.toPublic().armor());
  symlinkSync("away", join(folder, "keys"));
  const ended = await stagex(
    ...["verify", "--image", `stagex/core-seed:1.0@${digest}`, "--signatures", join(folder, "s")],
    ...["--maintainers", join(folder, "MAINTAINERS"), "--keys", join(folder, "keys")],
  );
  expect(ended).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("it is a symbolic link; name the folder"),
  });
});
