import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { PrivateKey } from "openpgp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cpuVendorOf } from "../../buildkit/client/builder-facts.ts";
import type { Fingerprint } from "../../trust/openpgp/fingerprint.ts";
import { signingKeyOf } from "../../trust/openpgp/signing-key.ts";
import { type KitEntry, readKit, writeKit } from "../../trust/signatures/signing-kit.ts";
import { GpgHome } from "../support/builders/gpg-home.ts";
import { newKey } from "../support/builders/maintainers.ts";
import { ended, Project, type Run } from "../support/builders/project.ts";
import { describeReal } from "../support/real-tools.ts";

const chosen = ["bootstrap-hex0", "bootstrap-hex1"];

describeReal("what was built here is signed on a machine with nothing but the key", () => {
  let project: Project;
  let agent: GpgHome;
  let ash: Fingerprint;
  let hazel: PrivateKey;
  let elsewhere: string;

  beforeAll(async () => {
    project = await Project.create();
    agent = await GpgHome.create();
    ash = agent.newKey("ash", "ed25519");
    hazel = await newKey("hazel");
    const vendor = cpuVendorOf(await readFile("/proc/cpuinfo", "utf8"));
    const keys = join(project.folder, "keys");
    await mkdir(keys);
    await writeFile(join(keys, "ash.gpg"), agent.run("--export"));
    await writeFile(join(keys, "hazel.asc"), hazel.toPublic().armor());
    const people = Object.entries({ ash, hazel: hazel.getFingerprint() }).map(
      ([id, key]) =>
        `[people.${id}]\n[keys.${id}.one]\nid = "${key}"\n[machines.${id}.desk]\nbrand = "${vendor}"\n`,
    );
    await writeFile(join(project.folder, "MAINTAINERS"), people.join(""));
    await project.set("images", JSON.stringify(chosen));
    await project.set("maintainers", "MAINTAINERS");
    await project.set("keys", "keys");
    elsewhere = join(project.folder, "elsewhere");
  });

  afterAll(async () => {
    await project[Symbol.asyncDispose]();
    await agent[Symbol.asyncDispose]();
  });

  const stagex = (...args: string[]): Promise<Run> =>
    ended(project.startStagex(args, { GNUPGHOME: agent.folder }));
  const file = (name: string) => join(project.folder, name);

  /** A kit, new and unpacked at a place of its own. */
  async function kit(): Promise<readonly KitEntry[]> {
    const { code, output } = await stagex("sign", "export", "--stack", "test", "--out", file("kit.tar"));
    expect(code, output).toBe(0);
    await rm(elsewhere, { recursive: true, force: true });
    await mkdir(elsewhere);
    execFileSync("tar", ["-xf", file("kit.tar"), "-C", elsewhere]);
    return await readKit(file("kit.tar"));
  }

  function signedIn(folder: string): Promise<string[]> {
    return readdir(folder, { recursive: true }).then((names) =>
      names.filter((name) => /signature-\d+$/.test(name)).sort(),
    );
  }
  const lookaside = () => signedIn(join(project.folder, ".stagex/signatures"));

  test("before anything is built, there is nothing to sign, and nobody to sign it", async () => {
    const none = await stagex("sign", "export", "--stack", "test", "--out", file("kit.tar"));
    expect(none.output).toContain("no signer: give an id in MAINTAINERS with --person ID");
    expect(none.code).toBe(2);
    await project.set("attest", "ash");
    const empty = await stagex("sign", "export", "--stack", "test", "--out", file("kit.tar"));
    expect(empty.output).toContain("the stack test has no images");
    expect(empty.code).toBe(2);
  });

  test("without a key the images are built, and the attestations say what to do", async () => {
    const { code, output, built } = await project.up(["--continue-on-error"]);
    expect(built).toEqual(chosen);
    expect(output).toContain("no key to sign with");
    expect(output).toContain("sign export");
    expect(code).not.toBe(0);
  });

  test("export, a shell with gpg, import: then the up is green, and nothing is left to sign", async () => {
    const entries = await kit();
    expect(entries.map(({ name }) => name)).toEqual(["0001-bootstrap-hex0", "0002-bootstrap-hex1"]);
    execFileSync("sh", ["stagex-signing-kit/sign.sh", ash], {
      cwd: elsewhere,
      env: { PATH: process.env.PATH, GNUPGHOME: agent.folder },
    });
    const signed = join(elsewhere, "signed.tar");
    const imported = await stagex("sign", "import", "--stack", "test", signed);
    expect(imported.output).toContain("2 filed, 0 there already, 0 left out, 0 not signed");
    expect(imported.code).toBe(0);
    expect(await lookaside()).toHaveLength(2);
    const again = await stagex("sign", "import", "--stack", "test", signed);
    expect(again.output).toContain("0 filed, 2 there already, 0 left out, 0 not signed");
    expect(again.code).toBe(0);
    const up = await project.up([], { GNUPGHOME: "/nonexistent" });
    expect(up.code, up.output).toBe(0);
    const left = await stagex("sign", "export", "--stack", "test", "--out", file("none.tar"));
    expect(left.output).toContain("nothing is left to sign: ash has signed all 2");
    expect(left.code).toBe(0);
  });

  test("this command signs it too, goes on where it was stopped, and takes StageX's digests files", async () => {
    await rm(join(project.folder, ".stagex/signatures"), { recursive: true });
    const digests = ["--digests", join(project.tree, "digests/bootstrap.txt")];
    const out = ["--out", file("kit.tar")];
    const exported = await stagex("sign", "export", "--stack", "test", ...digests, ...out);
    expect(exported.output).toContain("2 to sign by ash, 0 signed already");
    expect(exported.output).toMatch(/bootstrap-stem0 is not attested: this machine has not built sha256:/);
    const half = await stagex("sign", "run", file("kit.tar"), "--key", "0".repeat(40));
    expect(half.output).toContain("gpg has no key");
    expect(half.code).toBe(2);
    const run = await stagex("sign", "run", file("kit.tar"), "--key", ash, "--out", file("signed.tar"));
    expect(run.output).toContain("touch your key: 2 of 2");
    expect(run.output).toContain(`2 of 2 signed by ${ash}`);
    expect(run.code).toBe(0);
    const [first, second] = await readKit(file("signed.tar"));
    if (!first?.signature || !second) throw new Error("it was not signed");
    const { signature: _, ...unsigned } = second;
    await writeKit(file("half.tar"), [first, unsigned]);
    const rest = await stagex("sign", "run", file("half.tar"), "--key", ash);
    expect(rest.output).not.toContain("1 of 2:");
    expect(rest.code).toBe(0);
    expect((await readKit(file("half.tar")))[0]?.signature).toEqual(first.signature);
    const imported = await stagex("sign", "import", "--stack", "test", file("half.tar"));
    expect(imported.output).toContain("2 filed");
  });

  test("a kit with anything but an image's payload is not signed at all", async () => {
    const [first] = await readKit(file("kit.tar"));
    if (!first) throw new Error("an empty kit");
    const will = { name: "0002-will", payload: Buffer.from("I leave all to Mallory") };
    await writeKit(file("odd.tar"), [first, will]);
    const { code, output } = await stagex("sign", "run", file("odd.tar"), "--key", ash);
    expect(output).toContain("nothing is signed, since 0002-will is no payload of an image");
    expect(code).toBe(2);
    expect((await readKit(file("odd.tar"))).some(({ signature }) => signature)).toBe(false);
  });

  test("damaged, foreign and altered signatures are named and left out; the good one is filed", async () => {
    await rm(join(project.folder, ".stagex/signatures"), { recursive: true });
    const [good, other] = await kit();
    if (!good || !other) throw new Error("the kit lacks payloads");
    const byHazel = await signingKeyOf(hazel);
    const byStranger = await signingKeyOf(await newKey("mallory"));
    const signed = async (payload: Uint8Array) => {
      await writeKit(file("one.tar"), [{ name: "0001-one", payload }]);
      const run = await stagex("sign", "run", file("one.tar"), "--key", ash);
      expect(run.code, run.output).toBe(0);
      const signature = (await readKit(file("one.tar")))[0]?.signature;
      if (!signature) throw new Error("nothing was signed");
      return signature;
    };
    const altered = (change: (text: string) => string) =>
      signed(Buffer.from(change(Buffer.from(other.payload).toString())));
    const damaged = Buffer.from(await signed(other.payload));
    damaged[damaged.length - 3] = (damaged[damaged.length - 3] ?? 0) ^ 1;
    const signatures: [Uint8Array, RegExp][] = [
      [damaged, /0002-x {2}left out: .*(signature|message)/],
      [await byHazel.sign(other.payload), /0003-x {2}left out: it is by hazel, not by ash/],
      [
        await byStranger.sign(other.payload),
        /0004-x {2}left out: signed by a key that is not among the keys/,
      ],
      [
        await altered((text) => text.replace(/:[^":]+"\}/, ':9.9"}')),
        /0005-x {2}left out: it is for .*:9\.9/,
      ],
      [
        await altered((text) => text.replace(/sha256:\w{64}/, `sha256:${"0".repeat(64)}`)),
        /0006-x {2}left out: it is for .* sha256:0{64}, which was not built here/,
      ],
      [
        await altered((text) => text.replace(/"cpuVendor":"\w+"/, '"cpuVendor":"IBM"')),
        /0007-x {2}left out: its claim about the builder/,
      ],
      [Buffer.from("no signature"), /0008-x {2}left out: not an OpenPGP message/],
    ];
    await writeKit(file("mixed.tar"), [
      { ...good, signature: await signed(good.payload) },
      ...signatures.map(([signature], index) => ({
        name: `000${index + 2}-x`,
        payload: other.payload,
        signature,
      })),
      { name: "0009-x", payload: other.payload },
    ]);
    const { code, output } = await stagex("sign", "import", "--stack", "test", file("mixed.tar"));
    for (const [, reason] of signatures) expect(output).toMatch(reason);
    expect(output).toContain(`1 filed, 0 there already, ${signatures.length} left out, 1 not signed`);
    expect(code).toBe(1);
    expect(await lookaside()).toHaveLength(1);
  });

  test("another person's kit is refused in one error that names them, and nothing of it is filed", async () => {
    await rm(join(project.folder, ".stagex/signatures"), { recursive: true, force: true });
    const byHazel = await signingKeyOf(hazel);
    const entries = await kit();
    const signed = await Promise.all(
      entries.map(async (entry) => ({ ...entry, signature: await byHazel.sign(entry.payload) })),
    );
    await writeKit(file("hazels.tar"), signed);
    const { code, output } = await stagex("sign", "import", "--stack", "test", file("hazels.tar"));
    expect(output).toContain(
      `${file("hazels.tar")} is signed by hazel, and not by ash: nothing of it is filed.`,
    );
    expect(output).toContain(`sign import ${file("hazels.tar")} -- --stack test --person hazel`);
    expect(output.trim().split("\n")).toHaveLength(3);
    expect(code).toBe(2);
    const as = await stagex("sign", "import", file("hazels.tar"), "--stack", "test", "--person", "hazel");
    expect(as.output).toContain("2 filed, 0 there already, 0 left out, 0 not signed");
    expect(as.code).toBe(0);
  });

  test("what is left out of a kit for one reason is counted after the first ten", async () => {
    const stranger = await signingKeyOf(await newKey("mallory"));
    const [first] = await kit();
    if (!first) throw new Error("the kit lacks payloads");
    const signature = await stranger.sign(first.payload);
    const entries = Array.from({ length: 24 }, (_, index) => ({
      name: `${String(index + 1).padStart(4, "0")}-x`,
      ...{ payload: first.payload, signature },
    }));
    await writeKit(file("many.tar"), entries);
    const { code, output } = await stagex("sign", "import", "--stack", "test", file("many.tar"));
    expect(output).toContain("0010-x  left out: signed by a key that is not among the keys");
    expect(output).not.toContain("0011-x");
    expect(output).toContain("and 14 more left out for the same reason as the last");
    expect(output).toContain("0 filed, 0 there already, 24 left out, 0 not signed");
    expect(code).toBe(1);
  });

  test("what was built of another version than the tree has now is not signed as that one", async () => {
    await rm(join(project.folder, ".stagex/signatures"), { recursive: true });
    const toml = join(project.tree, "packages/bootstrap/hex0/package.toml");
    const before = await readFile(toml, "utf8");
    expect(before).toMatch(/^version = "/m);
    await writeFile(toml, before.replace(/^version = ".*"$/m, 'version = "9.9.9"'));
    const digests = ["--digests", join(project.tree, "digests/bootstrap.txt")];
    const { output } = await stagex(
      "sign",
      "export",
      "--stack",
      "test",
      ...digests,
      "--out",
      file("old.tar"),
    );
    await writeFile(toml, before);
    expect(output).toMatch(/bootstrap-hex0 is not attested: this machine has not built sha256:/);
    const names = await readKit(file("old.tar")).catch(() => []);
    expect(names.map(({ payload }) => Buffer.from(payload).toString()).join()).not.toContain("9.9.9");
  });

  test("what was not built here is not filed, however well it is signed", async () => {
    const [entry] = await readKit(file("signed.tar"));
    expect(entry?.signature).toBeDefined();
    await rm(join(project.folder, ".stagex/signatures"), { recursive: true });
    await rm(join(project.folder, ".stagex/built"), { recursive: true });
    const { code, output } = await stagex("sign", "import", "--stack", "test", file("signed.tar"));
    expect(output).toMatch(
      /left out: it is for "docker.io\/stagex\/bootstrap-hex0:\S+ sha256:\w{64}, which was not/,
    );
    expect(code).toBe(1);
    expect(await lookaside()).toEqual([]);
  });
});
