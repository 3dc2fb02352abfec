import { execFileSync } from "node:child_process";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { PrivateKey } from "openpgp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cpuVendorOf } from "../../buildkit/client/builder-facts.ts";
import { Ledger } from "../../distro/ledger/ledger.ts";
import { Registry } from "../../oci/registry/registry.ts";
import { parseRegistryAddress } from "../../oci/registry/registry-address.ts";
import { Store } from "../../oci/store/store.ts";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import { evaluateQuorum, type QuorumVerdict } from "../../trust/quorum/quorum.ts";
import { parseRoster } from "../../trust/quorum/roster.ts";
import { type PinnedImage, parsePinnedImage, repositoryOf } from "../../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../../trust/signatures/lookaside-folder.ts";
import { signatureFolder } from "../../trust/signatures/signature-file.ts";
import { GpgHome } from "../support/builders/gpg-home.ts";
import { processesOf } from "../support/builders/leftovers.ts";
import { newKey } from "../support/builders/maintainers.ts";
import { ended, flipByte, Project } from "../support/builders/project.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { RegistryServer } from "../support/servers/registry-server.ts";

const chosen = ["bootstrap-hex0", "bootstrap-hex1", "core-filesystem"];
const algorithms = ["ed25519", "nistp256", "rsa3072"] as const;

type StateResource = {
  readonly id: string;
  readonly type: string;
  readonly inputs: { readonly version: string };
  readonly outputs: { readonly digests: Readonly<Record<string, string>> };
};

describeReal("what was built here is attested", () => {
  let project: Project;
  let agent: GpgHome;
  let keys: Record<(typeof algorithms)[number], string>;
  let hazel: PrivateKey;
  let people: string;
  let lookaside: string;
  let vendor: string;

  beforeAll(async () => {
    project = await Project.create();
    agent = await GpgHome.create();
    keys = {
      ed25519: agent.newKey("ash-ed25519", "ed25519"),
      nistp256: agent.newKey("ash-nistp256", "nistp256"),
      rsa3072: agent.newKey("ash-rsa3072", "rsa3072"),
    };
    hazel = await newKey("hazel");
    vendor = cpuVendorOf(await readFile("/proc/cpuinfo", "utf8"));
    people = join(project.folder, "people");
    lookaside = join(project.folder, "signatures");
    await mkdir(join(people, "keys"), { recursive: true });
    await mkdir(lookaside);
    await writeFile(join(people, "keys/ash.gpg"), agent.run("--export"));
    await writeFile(join(people, "keys/hazel.asc"), hazel.toPublic().armor());
    await writeFile(join(people, "hazel.key"), hazel.armor(), { mode: 0o600 });
    await writeFile(join(people, "MAINTAINERS"), roster());
    await settle(project, "ash", keys.ed25519);
  });

  afterAll(async () => {
    await project[Symbol.asyncDispose]();
    await agent[Symbol.asyncDispose]();
  });

  function roster(): string {
    const ash = algorithms.map((one) => `[keys.ash.${one}]\nid = "${keys[one]}"`);
    const persons = ["ash", "hazel"].map(
      (id) => `[people.${id}]\n[machines.${id}.desk]\nbrand = "${vendor}"`,
    );
    return [...persons, ...ash, `[keys.hazel.one]\nid = "${hazel.getFingerprint()}"`].join("\n");
  }

  async function settle(at: Project, person: string, key: string): Promise<void> {
    await at.set("images", JSON.stringify(chosen));
    await at.set("maintainers", join(people, "MAINTAINERS"));
    await at.set("keys", join(people, "keys"));
    await at.set("signatures", lookaside);
    await at.set("attest", person);
    await at.set("signingKey", key);
  }

  const gpg = () => ({ GNUPGHOME: agent.folder });
  /** Where no key is: whoever is asked to sign there fails. */
  const noKeys = { GNUPGHOME: "/nonexistent" };

  /** The manifests of a project's images, as their signatures name them; core-filesystem has two. */
  async function manifests(at = project): Promise<{ image: string; manifest: PinnedImage }[]> {
    const { resources } = JSON.parse(await at.state()).deployment as { resources: StateResource[] };
    return resources
      .filter(({ type }) => type === "stagex:index:Package")
      .flatMap(({ id: image, inputs, outputs }) =>
        Object.values(outputs.digests).map((digest) => ({
          image,
          manifest: parsePinnedImage(`stagex/${image}:${inputs.version}@${digest}`),
        })),
      );
  }

  /** What its signatures come to, judged as everyone does. */
  async function outcomeOf({ reference, digest }: PinnedImage): Promise<QuorumVerdict> {
    const files = await new LookasideFolder(lookaside).read(repositoryOf(reference), digest);
    const trust = { roster: parseRoster(roster()), keyring: await Keyring.load(join(people, "keys")) };
    return await evaluateQuorum({ reference, digest }, files, trust, { threshold: 1, vendors: 1 });
  }

  async function bytesOfAll(): Promise<Record<string, string>> {
    const files = await signatureFiles();
    return Object.fromEntries(
      await Promise.all(
        files.map(async (file) => [file, (await readFile(file)).toString("base64")] as const),
      ),
    );
  }

  /** Those that count as files of a lookaside; a killed writer leaves a hidden draft, which the next ones sweep. */
  async function signatureFiles(): Promise<string[]> {
    const found = await readdir(lookaside, { recursive: true, withFileTypes: true });
    return found
      .filter((one) => one.isFile() && /^signature-\d+$/.test(one.name))
      .map((one) => join(one.parentPath, one.name))
      .sort();
  }

  test("the first up builds, and signs each image once, with gpg-agent", async () => {
    const { code, output, built } = await project.up([], gpg());
    expect(output).toContain("stagex:index:Attestation");
    expect(code, output).toBe(0);
    expect(built).toEqual(chosen);
    const signed = await manifests();
    expect(signed).toHaveLength(chosen.length + 1);
    expect(await signatureFiles()).toHaveLength(signed.length);
    for (const { manifest } of signed) {
      const { met, accepted, rejected } = await outcomeOf(manifest);
      expect({ met, rejected }).toEqual({ met: true, rejected: [] });
      expect(accepted).toMatchObject([{ person: "ash", fingerprint: keys.ed25519, cpuVendor: vendor }]);
    }
  });

  test("the second up signs nothing, and asks nobody", async () => {
    const before = await bytesOfAll();
    const { code, output } = await project.up(["--refresh"], noKeys);
    expect(output).toMatch(/\d+ unchanged/);
    expect(output).not.toMatch(/created|updated/);
    expect(code).toBe(0);
    expect(await bytesOfAll()).toEqual(before);
  });

  test("another machine's state finds what is signed: nobody is asked again", async () => {
    const before = await bytesOfAll();
    const { code, output } = await project.up(["--target-replace", "**:Attestation::*"], noKeys);
    expect(code, output).toBe(0);
    expect(output).toContain("all of them stay in the lookaside");
    expect(await bytesOfAll()).toEqual(before);
  });

  test.each([
    ["nistp256", "2"],
    ["rsa3072", "3"],
  ] as const)("a damaged and a lost signature are drift, and signed again: %s", async (algorithm, next) => {
    const signed = await manifests();
    const fileOf = (image: string, number: string) => {
      const { manifest } = signed.find((one) => one.image === image) ?? { manifest: undefined };
      if (!manifest) throw new Error(`nothing was signed of ${image}`);
      const folder = signatureFolder(repositoryOf(manifest.reference), manifest.digest);
      return { file: join(lookaside, folder, `signature-${number}`), manifest };
    };
    const damaged = fileOf("bootstrap-hex0", String(Number(next) - 1));
    const lost = fileOf("bootstrap-hex1", "1");
    await flipByte(damaged.file);
    await rm(lost.file);
    await project.set("signingKey", keys[algorithm]);
    const { code, output } = await project.up(["--refresh"], gpg());
    expect(code, output).toBe(0);
    for (const { manifest } of [damaged, lost])
      expect(output).toContain(
        `of ${manifest.reference.replace("docker.io/", "")}@${manifest.digest} is missing, damaged`,
      );
    expect(output).not.toContain("of stagex/core-filesystem");
    const again = await outcomeOf(damaged.manifest);
    expect(again.accepted).toMatchObject([{ file: `signature-${next}`, fingerprint: keys[algorithm] }]);
    expect(again.rejected).toHaveLength(Number(next) - 1);
    expect((await outcomeOf(lost.manifest)).accepted).toMatchObject([
      { file: "signature-1", fingerprint: keys[algorithm] },
    ]);
  });

  test("refuses a key of another person, an unknown person, and a machine of another", async () => {
    await rm(lookaside, { recursive: true });
    await mkdir(lookaside);
    await project.set("signingKey", "people/hazel.key");
    const stranger = await project.up(["--refresh"], gpg());
    expect(stranger.output).toMatch(/the key [0-9A-F]{40} is hazel's, not ash's/);
    expect(stranger.code).not.toBe(0);
    await project.set("attest", "nobody");
    const nobody = await project.up([], gpg());
    expect(nobody.output).toMatch(/"nobody" is not in MAINTAINERS.*it has: ash, hazel/);
    expect(nobody.code).not.toBe(0);
    expect(await signatureFiles()).toEqual([]);
    const other = vendor === "GenuineIntel" ? "AMD" : "Intel";
    await writeFile(join(people, "MAINTAINERS"), roster().replaceAll(`"${vendor}"`, `"${other}"`));
    await project.set("attest", "ash");
    await project.set("signingKey", keys.ed25519);
    const elsewhere = await project.up([], gpg());
    const [, diagnostics = ""] = elsewhere.output.split("Diagnostics:");
    expect(diagnostics.match(/ash has no machine by \S+ in MAINTAINERS/g)).toHaveLength(1);
    expect(elsewhere.code).toBe(0);
    const [{ manifest } = { manifest: undefined }] = await manifests();
    expect(manifest && (await outcomeOf(manifest))).toMatchObject({
      met: true,
      accepted: [{ person: "ash" }],
    });
    await writeFile(join(people, "MAINTAINERS"), roster());
  });

  test("killed in the middle of signing, the next one signs the rest", async () => {
    await rm(lookaside, { recursive: true });
    await mkdir(lookaside);
    const slow = join(project.folder, "slow");
    await mkdir(slow);
    const real = execFileSync("sh", ["-c", "command -v gpg"], { encoding: "utf8" }).trim();
    await writeFile(join(slow, "gpg"), `#!/bin/sh\nsleep 1\nexec ${real} "$@"\n`, { mode: 0o755 });
    const path = `${slow}:${project.environment.PATH}`;
    const running = project.startStagex(["start", "--stack", "test"], { ...gpg(), PATH: path });
    await expect.poll(signatureFiles, { timeout: 60_000, interval: 20 }).not.toEqual([]);
    for (const pid of await processesOf(project.folder, /./)) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended with another.
      }
    }
    await ended(running);
    const signed = await manifests();
    expect((await signatureFiles()).length).toBeLessThan(signed.length);
    const { code, output } = await project.stagexStart([], gpg());
    expect(code, output).toBe(0);
    expect(await signatureFiles()).toHaveLength(signed.length);
    for (const { manifest } of signed) expect((await outcomeOf(manifest)).rejected).toEqual([]);
  });

  test("reports a lookaside that is read-only", async () => {
    await project.set("signatures", "http://127.0.0.1:1/signatures");
    const { output, code } = await project.up(["--target-replace", "**:Attestation::*"], gpg());
    expect(output).toContain("no answer from http://127.0.0.1:1/signatures");
    expect(code).not.toBe(0);
    await project.set("signatures", lookaside);
    expect((await project.up([], gpg())).code).toBe(0);
  });

  test.skipIf(process.getuid?.() !== 0)(
    "where the disk is full, it says so, and goes on with room",
    async () => {
      await rm(lookaside, { recursive: true });
      await mkdir(lookaside);
      // A page for each of two signatures.
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=8k", "none", lookaside]);
      try {
        const full = await project.up(["--refresh", "--continue-on-error"], gpg());
        expect(full.output).toContain("The disk is full: make room, and run the same command again");
        expect(full.code).not.toBe(0);
        const kept = await bytesOfAll();
        execFileSync("mount", ["-o", "remount,size=1m", lookaside]);
        const { code, output } = await project.up(["--refresh"], gpg());
        expect(code, output).toBe(0);
        expect(await bytesOfAll()).toMatchObject(kept);
        for (const { manifest } of await manifests())
          expect(await outcomeOf(manifest)).toMatchObject({ met: true, rejected: [] });
      } finally {
        execFileSync("umount", [lookaside]);
      }
    },
  );

  describe("by another person, on a machine that pulls what it may", () => {
    let second: Project;
    let server: RegistryServer;
    const said: string[] = [];

    beforeAll(async () => {
      server = await RegistryServer.start();
      const store = await Store.open(join(project.folder, ".stagex/store"));
      const registry = new Registry(
        parseRegistryAddress(`${server.host}/stagex`),
        realTool("registry-client"),
      );
      const scratch = join(project.folder, ".stagex/scratch");
      for (const { image, digests } of (await new Ledger(join(project.folder, ".stagex/ledger")).readAll())
        .records)
        if (digests.index) await registry.push(image, digests.index, { store, scratch });
      second = await Project.create();
      await cp(join(project.folder, ".stagex/ledger"), join(second.folder, ".stagex/ledger"), {
        recursive: true,
      });
      await settle(second, "hazel", join(people, "hazel.key"));
      await second.set("substituteFrom", `${server.host}/stagex`);
      await second.set("substitute", '["bootstrap-*"]');
    });

    afterAll(async () => {
      await second[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    });

    test("what is pulled gets no attestation, and the output says which; both people's signatures end up there", async () => {
      await rm(lookaside, { recursive: true });
      await mkdir(lookaside);
      const [one, other] = await Promise.all([project.up(["--refresh"], gpg()), second.up([], noKeys)]);
      expect(one.code, one.output).toBe(0);
      expect(other.code, other.output).toBe(0);
      said.push(one.output, other.output);
      expect(other.built).toEqual(["core-filesystem"]);
      expect(other.output).toContain(
        "hazel does not attest images that were pulled instead of built: bootstrap-hex0, bootstrap-hex1",
      );
      for (const { image, manifest } of await manifests()) {
        const { accepted, rejected } = await outcomeOf(manifest);
        const expected = image === "core-filesystem" ? ["ash", "hazel"] : ["ash"];
        expect({ people: accepted.map(({ person }) => person).sort(), rejected }).toEqual({
          people: expected,
          rejected: [],
        });
      }
    });

    test("refuses an image that was pulled before, with the command that fixes it", async () => {
      await second.run(["config", "rm", "stagex:substitute", "--stack", "test"]);
      const refused = await second.up(["--continue-on-error"], noKeys);
      expect(refused.output).toMatch(
        /bootstrap-hex0 is not attested: this machine has not built sha256:\w{64} from these inputs, only \S+ has/,
      );
      expect(refused.code).not.toBe(0);
      const pattern = /pulumi up --replace '([^']*hex0)'/.exec(refused.output)?.[1] ?? "";
      const mended = await second.up(["--continue-on-error", "--replace", pattern], noKeys);
      said.push(refused.output, mended.output);
      expect(mended.built).toEqual(["bootstrap-hex0"]);
      expect(mended.output).not.toContain("bootstrap-hex0 is not attested");
      for (const { image, manifest } of await manifests())
        expect((await outcomeOf(manifest)).accepted).toHaveLength(image === "bootstrap-hex1" ? 1 : 2);
    });

    test("no part of a private key is in the state, in what runs leave behind, or in what they say", async () => {
      const open = new Set(hazel.toPublic().armor().split(/\r?\n/));
      const secret = hazel
        .armor()
        .split(/\r?\n/)
        .filter((line) => line.length > 40 && !open.has(line));
      expect(secret.length).toBeGreaterThan(1);
      const texts = [await second.state(), await project.state(), ...said];
      for (const part of ["ledger", "built", "logs", "pulumi"]) {
        const folder = join(second.folder, ".stagex", part);
        const found = await readdir(folder, { recursive: true, withFileTypes: true });
        for (const file of found.filter((one) => one.isFile()))
          texts.push(await readFile(join(file.parentPath, file.name), "utf8"));
      }
      expect(texts.length).toBeGreaterThan(20);
      expect(texts.filter((text) => text.includes("hazel.key"))).not.toEqual([]);
      for (const text of texts) {
        for (const line of secret) expect(text).not.toContain(line);
        expect(text).not.toContain("PRIVATE KEY");
      }
    });
  });
});
