import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { PrivateKey } from "openpgp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Ledger, type LedgerRecord } from "../../distro/ledger/ledger.ts";
import { readTree } from "../../distro/tree/tree.ts";
import { type Digest, digestOf, hexOf, parseDigest } from "../../oci/digest.ts";
import { Registry } from "../../oci/registry/registry.ts";
import { parseRegistryAddress } from "../../oci/registry/registry-address.ts";
import { Store } from "../../oci/store/store.ts";
import { parseRepository } from "../../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../../trust/signatures/lookaside-folder.ts";
import { facts } from "../support/builders/builder-facts.ts";
import { maintainersOf, newKey, payload, signedBy } from "../support/builders/maintainers.ts";
import { ended, Project, publishedDigests } from "../support/builders/project.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { RegistryServer } from "../support/servers/registry-server.ts";

const chosen = ["bootstrap-hex0", "bootstrap-hex1"];

/**
 * An attacker writes to the ledger that maintainers share, and to the registry that they pull from.
 * They claim that the inputs of an image give another one, which is present and whole. Where a
 * quorum is required, these claims must decide no result, and no maintainer may sign them.
 */
describeReal("a forged record of the shared ledger", { timeout: 300_000 }, () => {
  let server: RegistryServer;
  let victim: Project;
  let published: Record<string, string>;
  /** The true record of the image that is forged. */
  let truth: LedgerRecord;
  /** The foreign image's record, but for its builder. */
  let forged: Pick<LedgerRecord, "inputKey" | "image" | "digests" | "seconds" | "outcome" | "finished">;
  let foreign: Digest;
  let alice: PrivateKey;
  let bob: PrivateKey;

  const stateOf = (...parts: string[]) => join(victim.folder, ".stagex", ...parts);
  const ledger = () => new Ledger(stateOf("ledger"));

  beforeAll(async () => {
    server = await RegistryServer.start();
    victim = await Project.create();
    published = await publishedDigests(victim.tree);
    // What a tree publishes would hold the images in every mode: here nothing but the ledger speaks for them.
    await rm(join(victim.tree, "digests"), { recursive: true });
    await victim.commit("Publish nothing");
    const settings = {
      images: JSON.stringify(chosen),
      maintainers: "MAINTAINERS",
      keys: "keys.gpg",
      signatures: "signatures",
    };
    for (const [key, value] of Object.entries(settings)) await victim.set(key, value);
    [alice, bob] = [await newKey("alice"), await newKey("bob")];
    const people = { alice: { keys: [alice] }, bob: { keys: [bob], brands: ["Intel"] } };
    await writeFile(join(victim.folder, "MAINTAINERS"), maintainersOf(people));
    await writeFile(
      join(victim.folder, "keys.gpg"),
      Buffer.concat([alice, bob].map((key) => key.toPublic().write())),
    );
    for (const [name, key] of Object.entries({ alice, bob }))
      await writeFile(join(victim.folder, `${name}.key`), key.armor(), { mode: 0o600 });
    await mkdir(join(victim.folder, "signatures"));
    expect(await victim.up()).toMatchObject({ code: 0, built: chosen });
    const { records } = await ledger().readAll();
    const found = records.find(({ image }) => image === "bootstrap-hex0");
    if (!found) throw new Error("nothing was built");
    truth = found;
    const evil = await foreignImage(
      join(victim.folder, "out/bootstrap-hex0"),
      join(victim.folder, "foreign"),
    );
    foreign = evil.manifest;
    const store = await Store.open(stateOf("store"));
    await store.adopt(join(victim.folder, "foreign"));
    const registry = new Registry(parseRegistryAddress(`${server.host}/stagex`), realTool("registry-client"));
    await registry.push("bootstrap-hex0", evil.index, { store, scratch: stateOf("scratch") });
    const [platform = ""] = Object.keys(truth.digests.platforms);
    forged = { ...truth, digests: { index: evil.index, platforms: { [platform]: foreign } } };
    await victim.set("substituteFrom", `${server.host}/stagex`);
    await victim.set("substitute", '["*"]');
    await victim.set("substituteTrust", "quorum");
  }, 300_000);

  afterAll(async () => {
    await victim[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  /** Forgets all that the victim has made; what stays is the configuration, and what others may write to. */
  async function forgetAll(): Promise<void> {
    expect((await victim.run(["destroy", "--yes", "--skip-preview", "--stack", "test"])).code).toBe(0);
    for (const part of ["store", "ledger", "built", "agreed"])
      await rm(stateOf(part), { recursive: true, force: true });
  }

  async function expectTruth(): Promise<void> {
    expect(await victim.digests()).toEqual(
      Object.fromEntries(chosen.map((image) => [image, published[image]])),
    );
    expect(await victim.state()).not.toContain(foreign);
  }

  /** Every shape that a record which others wrote can have: whose name, with which facts, alone or agreed upon. */
  const shapes: Record<string, (own: LedgerRecord) => LedgerRecord["builder"][]> = {
    "by a builder nobody knows": () => [{ id: "epyc-1", facts }],
    "without facts, as of an imported release": () => [{ id: "release-2026.03.0", facts: null }],
    "in the name, and with the facts, of this machine's own builder": ({ builder }) => [builder],
    "by many who agree": () => ["epyc-1", "epyc-2", "xeon-1"].map((id) => ({ id, facts })),
    "by `quorum`": () => [{ id: "quorum", facts: null }],
  };

  test.each(Object.keys(shapes))("is ignored under trust quorum: %s", async (shape) => {
    await forgetAll();
    for (const builder of shapes[shape]?.(truth) ?? []) await ledger().append({ ...forged, builder });
    const preview = await victim.run(["preview", "--stack", "test"]);
    expect(preview.output).toContain("2 will build");
    const { code, output, built } = await victim.up();
    expect(code, output).toBe(0);
    expect(built).toEqual(chosen);
    await expectTruth();
  });

  test("is ignored if the store already has the foreign image", async () => {
    await forgetAll();
    await (await Store.open(stateOf("store"))).adopt(join(victim.folder, "foreign"));
    await ledger().append({ ...forged, builder: { id: "epyc-1", facts } });
    expect((await victim.up()).built).toEqual(chosen);
    await victim.run(["config", "rm", "stagex:substitute", "--stack", "test"]);
    await victim.run(["destroy", "--yes", "--skip-preview", "--stack", "test"]);
    await rm(stateOf("built"), { recursive: true });
    expect((await victim.up()).built).toEqual(chosen);
    await expectTruth();
    await victim.set("substitute", '["*"]');
  });

  test("neither replaces an own build nor makes it build again", async () => {
    await ledger().append({ ...forged, builder: { id: "xeon-9", facts } });
    expect((await ledger().lookUp(truth.inputKey)).kind).toBe("contradiction");
    await victim.run(["destroy", "--yes", "--skip-preview", "--stack", "test"]);
    expect(await victim.up()).toMatchObject({ code: 0, built: [] });
    await expectTruth();
    await rm(stateOf("ledger"), { recursive: true });
    await ledger().append({ ...forged, builder: { id: "xeon-9", facts } });
    await victim.run(["destroy", "--yes", "--skip-preview", "--stack", "test"]);
    expect(await victim.up()).toMatchObject({ code: 0, built: [] });
    await expectTruth();
  });

  test("does not choose an older build of the same version, though it is well signed", async () => {
    const { images } = await readTree(victim.tree);
    const lookaside = new LookasideFolder(join(victim.folder, "signatures"));
    const text = payload({
      reference: `stagex/bootstrap-hex0:${images.get("bootstrap-hex0")?.version}`,
      manifest: foreign,
    });
    for (const key of [alice, bob])
      await lookaside.write(parseRepository("stagex/bootstrap-hex0"), foreign, await signedBy(key, text));
    await forgetAll();
    await ledger().append({ ...forged, builder: { id: "epyc-1", facts } });
    expect((await victim.up()).built).toEqual(chosen);
    await expectTruth();
    await rm(join(victim.folder, "signatures"), { recursive: true });
    await mkdir(join(victim.folder, "signatures"));
  });

  test("leads to no signature of what was taken under trust ledger, or built from it", async () => {
    await forgetAll();
    await ledger().append({ ...forged, builder: { id: "epyc-1", facts } });
    await victim.set("substituteTrust", "ledger");
    await victim.set("substitute", '["bootstrap-hex0"]');
    for (const [person, key] of Object.entries({ alice: "alice.key", bob: "bob.key" })) {
      await victim.set("attest", person);
      await victim.set("signingKey", key);
      const { code, output } = await victim.up(["--continue-on-error"]);
      expect(await victim.state()).toContain(foreign);
      expect(output).toMatch(
        /bootstrap-hex1 is not attested: it is built from bootstrap-hex0, and that is on another's word.*leave it out of stagex:substitute, and run pulumi up --replace '\*\*:Package::bootstrap-hex0'/,
      );
      expect(code).not.toBe(0);
    }
    const { output } = await ended(victim.startStagex(["digests", "--stack", "test"]));
    expect(output).toContain(
      "1 of 2 are not built by this state folder's own builders, but taken on a ledger's or a registry's word: bootstrap-hex0",
    );
    expect(await readdir(join(victim.folder, "signatures"), { recursive: true })).toEqual([]);
  });

  test("loses the images that it brought in once the stack asks for a quorum", async () => {
    for (const key of ["attest", "signingKey"])
      await victim.run(["config", "rm", `stagex:${key}`, "--stack", "test"]);
    await victim.set("substituteTrust", "quorum");
    await victim.set("substitute", '["*"]');
    const { code, output, built } = await victim.up();
    expect(code, output).toBe(0);
    expect(output).toContain("bootstrap-hex0 came from others (substituted)");
    expect(built).toEqual(chosen);
    await expectTruth();
    const second = await victim.up();
    expect(second.built).toEqual([]);
    expect(second.output).not.toContain("came from others");
  });

  test("does not prevent signatures on own builds", async () => {
    for (const person of ["alice", "bob"]) {
      await victim.set("attest", person);
      await victim.set("signingKey", `${person}.key`);
      const { code, output } = await victim.up();
      expect(code, output).toBe(0);
    }
    const files = await readdir(join(victim.folder, "signatures"), { recursive: true });
    expect(files.filter((file) => /signature-\d$/.test(file))).toHaveLength(2 * chosen.length);
    expect(files.join()).not.toContain(hexOf(foreign));
  });
});

/** The same layers under another config: whole, of other digests, and nothing that anybody has built. */
async function foreignImage(from: string, to: string): Promise<{ index: Digest; manifest: Digest }> {
  await cp(from, to, { recursive: true });
  const blob = (digest: string) => join(to, "blobs/sha256", hexOf(parseDigest(digest)));
  const read = async (file: string) => JSON.parse(await readFile(file, "utf8"));
  const put = async (json: unknown, like: object) => {
    const bytes = Buffer.from(JSON.stringify(json));
    const digest = digestOf(bytes);
    await writeFile(blob(digest), bytes);
    return { ...like, digest, size: bytes.length };
  };
  const top = await read(join(to, "index.json"));
  const index = await read(blob(top.manifests[0].digest));
  const manifest = await read(blob(index.manifests[0].digest));
  const config = await read(blob(manifest.config.digest));
  config.config = { ...config.config, Labels: { "org.example.evil": "yes" } };
  manifest.config = await put(config, manifest.config);
  index.manifests[0] = await put(manifest, index.manifests[0]);
  top.manifests[0] = await put(index, top.manifests[0]);
  await writeFile(join(to, "index.json"), JSON.stringify(top));
  return { index: parseDigest(top.manifests[0].digest), manifest: parseDigest(index.manifests[0].digest) };
}
