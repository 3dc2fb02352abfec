import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readKey } from "openpgp";
import { pack } from "tar-stream";
import { expect, test } from "vitest";
import { parseFingerprint } from "../../../../trust/openpgp/fingerprint.ts";
import { Keyring } from "../../../../trust/openpgp/keyring.ts";
import { verifySignedMessage } from "../../../../trust/openpgp/signed-message.ts";
import { type KitEntry, kitEntryName, readKit, writeKit } from "../../../../trust/signatures/signing-kit.ts";
import { gpgHome, payload } from "../../../support/builders/maintainers.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const entries: KitEntry[] = ["core-seed", "core-cat", "bootstrap-hex0"].map((image, index) => ({
  name: kitEntryName(index + 1, image),
  payload: Buffer.from(payload({ reference: `stagex/${image}:1.0` })),
}));

async function kit(of: readonly KitEntry[] = entries): Promise<{ folder: string; file: string }> {
  const folder = await scratchFolder();
  const file = join(folder, "kit.tar");
  await writeKit(file, of);
  return { folder, file };
}

/** Unpacks and signs as the README says, with whatever is first on PATH. */
function sign(folder: string, home: string, argument: string, path = "") {
  execFileSync("tar", ["-xf", "kit.tar"], { cwd: folder });
  return signOn(folder, home, argument, path);
}

function signOn(folder: string, home: string, argument: string, path = "") {
  return spawnSync("sh", ["stagex-signing-kit/sign.sh", argument], {
    cwd: folder,
    env: { PATH: `${path}${process.env.PATH}`, GNUPGHOME: home },
    encoding: "utf8",
  });
}

test("reads what was written, and nothing else", async () => {
  const withOne = entries.map((entry, index) =>
    index === 1 ? { ...entry, signature: Buffer.from("signed") } : entry,
  );
  const { folder, file } = await kit(withOne);
  expect(await readKit(file)).toEqual(withOne);
  expect(readdirSync(folder)).toEqual(["kit.tar"]);
});

test.each(["rsa2048", "nistp256", "ed25519"])(
  "a shell and gpg are enough to sign it: %s",
  async (algorithm) => {
    const { folder } = await kit();
    const { home, gpg, newKey } = await gpgHome();
    const fingerprint = parseFingerprint(newKey("alice", algorithm));
    writeFileSync(join(home, "gpg.conf"), "armor\ntextmode\ndigest-algo SHA256\ndefault-sig-expire 7d\n");
    const run = sign(folder, home, fingerprint);
    expect(run.stderr).toBe("");
    expect(run.stdout).toContain('3 of 3: {"critical"');
    expect(run.status).toBe(0);
    const signed = await readKit(join(folder, "signed.tar"));
    const keyring = await Keyring.of([await readKey({ binaryKey: gpg(["--no-armor", "--export"]) })]);
    for (const [index, { name, payload, signature = Buffer.of() }] of signed.entries()) {
      expect({ name, payload }).toEqual([...entries].sort((a, b) => (a.name < b.name ? -1 : 1))[index]);
      const verified = await verifySignedMessage(signature, keyring);
      expect(verified).toMatchObject({ fingerprint, content: new Uint8Array(payload) });
      expect(verified).not.toHaveProperty("expires");
    }
  },
);

test("keeps signatures of an interrupted run, and continues from there", async () => {
  const { folder } = await kit();
  const { home, newKey } = await gpgHome();
  const fingerprint = newKey("alice", "ed25519");
  const flaky = join(folder, "flaky");
  execFileSync("mkdir", [flaky]);
  const real = execFileSync("sh", ["-c", "command -v gpg"], { encoding: "utf8" }).trim();
  const script = `case "$*" in *core-cat.json*) exit 2 ;; esac\nexec ${real} "$@"`;
  writeFileSync(join(flaky, "gpg"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const broken = sign(folder, home, fingerprint, `${flaky}:`);
  expect(broken.stderr).toContain("stopped at 2 of 3");
  expect(broken.status).toBe(1);
  expect(readdirSync(folder)).not.toContain("signed.tar");
  const first = join(folder, "stagex-signing-kit/signatures/0001-core-seed.sig");
  const before = readFileSync(first);
  expect(signOn(folder, home, fingerprint).status).toBe(0);
  expect(readFileSync(first)).toEqual(before);
  const signed = await readKit(join(folder, "signed.tar"));
  expect(signed.every(({ signature }) => signature !== undefined)).toBe(true);
});

test.each(["", "0123ABCD", "--yes", "$(touch gotcha)", "../key"])(
  "a key is a whole fingerprint, and not %j",
  async (key) => {
    const { folder } = await kit();
    const { status, stderr } = sign(folder, "/nonexistent", key);
    expect(stderr).toContain("usage: sh sign.sh FINGERPRINT");
    expect(status).toBe(1);
    expect(readdirSync(folder).sort()).toEqual(["kit.tar", "stagex-signing-kit"]);
  },
);

test("refuses a file that is no kit, truncated, too large, or has a name twice", async () => {
  const { folder, file } = await kit();
  await expect(readKit(join(folder, "none.tar"))).rejects.toThrow(/none.tar is no kit that can be read/);
  await expect(readKit(folder)).rejects.toThrow(/it is a folder, not a regular file/);
  truncateSync(file, 3000);
  await expect(readKit(file)).rejects.toThrow(/kit.tar is no kit that can be read/);
  writeFileSync(file, "no tar at all ".repeat(100));
  await expect(readKit(file)).rejects.toThrow(/is no kit/);
  await writeKit(file, []);
  await expect(readKit(file)).rejects.toThrow(/there are no payloads/);
  const [one] = entries;
  if (!one) throw new Error("no entry");
  await writeKit(file, [one, one]);
  await expect(readKit(file)).rejects.toThrow(/payloads\/0001-core-seed.json is in it twice/);
  await writeKit(file, [{ ...one, payload: Buffer.alloc(100_000) }]);
  await expect(readKit(file)).rejects.toThrow(/has 100000 bytes/);
});

test("ignores entries with other names", async () => {
  const file = join(await scratchFolder(), "kit.tar");
  const tar = pack();
  const add = (name: string) => tar.entry({ name }, "x");
  add("payloads/0001-core-seed.json");
  add("../payloads/0002-core-cat.json");
  add("/payloads/0003-core-cat.json");
  add("payloads/../../x.json");
  tar.entry({ name: "payloads/0004-core-cat.json", type: "symlink", linkname: "/etc/passwd" });
  tar.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of tar) chunks.push(chunk as Uint8Array);
  writeFileSync(file, Buffer.concat(chunks));
  expect((await readKit(file)).map(({ name }) => name)).toEqual(["0001-core-seed"]);
});
