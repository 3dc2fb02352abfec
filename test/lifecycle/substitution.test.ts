import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { PrivateKey } from "openpgp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Ledger } from "../../distro/ledger/ledger.ts";
import { readTree } from "../../distro/tree/tree.ts";
import { parseDigest } from "../../oci/digest.ts";
import { Registry } from "../../oci/registry/registry.ts";
import { parseRegistryAddress } from "../../oci/registry/registry-address.ts";
import { Store } from "../../oci/store/store.ts";
import { parseRunReport } from "../../pipeline/context/run-report.ts";
import { parseRepository } from "../../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../../trust/signatures/lookaside-folder.ts";
import { maintainersOf, newKey, payload, signedBy } from "../support/builders/maintainers.ts";
import { Project, publishedDigests } from "../support/builders/project.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { answer, FaultyRegistry } from "../support/servers/faulty-registry.ts";
import { RegistryServer } from "../support/servers/registry-server.ts";

/** No daemon answers there, so every request to BuildKit fails. */
const nobody = { BUILDKIT_HOST: "unix:///nonexistent/buildkitd.sock" };

describeReal("what another machine has built is pulled, and only what is new is built", () => {
  let server: RegistryServer;
  let proxy: FaultyRegistry;
  let first: Project;
  let second: Project;
  let published: Record<string, string>;
  let images: string[];
  /** Those for several platforms: only the first one's digest is published. */
  let several: string[];

  beforeAll(async () => {
    server = await RegistryServer.start();
    proxy = await FaultyRegistry.before(server.host);
    first = await Project.create();
    published = await publishedDigests(first.tree);
    images = Object.keys(published).sort();
    expect((await first.up()).code).toBe(0);
    await pushAll(first);
    second = await Project.create();
    await second.set("substituteFrom", `${proxy.host}/stagex`);
    await second.set("substitute", '["*"]');
  });

  afterAll(async () => {
    await second[Symbol.asyncDispose]();
    await first[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  async function pushAll(project: Project): Promise<void> {
    const store = await Store.open(join(project.folder, ".stagex/store"));
    const registry = new Registry(parseRegistryAddress(`${server.host}/stagex`), realTool("registry-client"));
    const scratch = join(project.folder, ".stagex/scratch");
    const { records } = await new Ledger(join(project.folder, ".stagex/ledger")).readAll();
    expect(records.map(({ image }) => image).sort()).toEqual(images);
    several = records
      .filter(({ digests }) => Object.keys(digests.platforms).length > 1)
      .map(({ image }) => image);
    for (const { image, digests } of records) {
      if (digests.index) await registry.push(image, digests.index, { store, scratch });
    }
  }

  /** The images of the last run that came in this way, sorted. */
  async function come(project: Project, origin: "built" | "substituted"): Promise<string[]> {
    const journal = await readFile(join(project.folder, "journal.jsonl"), "utf8").catch(() => "");
    const entries = [...parseRunReport(journal).values()].filter((entry) => entry.origin === origin);
    return entries.map(({ image }) => image).sort();
  }

  /** How many are equal to the published digests is known once they are here, and not before; each digest is. */
  const withoutVerified = (output: string) => output.replace(/^\s*\+?\s*verified\s*: \[unknown\]$/m, "");

  /** Makes the second machine forget all that it has made: state, images and ledger. */
  async function forgetAll(): Promise<void> {
    expect((await second.run(["destroy", "--yes", "--skip-preview", "--stack", "test"])).code).toBe(0);
    for (const part of ["store", "ledger", "built", "agreed"])
      await rm(join(second.folder, ".stagex", part), { recursive: true, force: true });
  }

  test("with the ledger and the registry a second machine builds nothing", async () => {
    await cp(join(first.folder, ".stagex/ledger"), join(second.folder, ".stagex/ledger"), {
      recursive: true,
    });
    const preview = await second.run(["preview", "--diff", "--stack", "test"], nobody);
    expect(withoutVerified(preview.output)).not.toContain("[unknown]");
    expect(preview.output).toContain(`0 will build, 0 may be cut off, ${images.length} from the ledger`);
    const { code, output } = await second.up([], nobody);
    expect(output).toContain(`+ ${images.length + 2} created`);
    expect(code).toBe(0);
    expect(await come(second, "substituted")).toEqual(images);
    expect(await second.digests()).toEqual(published);
  });

  test("what was pulled is, to the last byte, what was built: indexes and out/ too", async () => {
    for (const image of images) {
      const [here, there] = [join(second.folder, "out", image), join(first.folder, "out", image)];
      const files = await readdir(here, { recursive: true });
      expect(files.sort()).toEqual((await readdir(there, { recursive: true })).sort());
      for (const file of ["index.json", "oci-layout"]) {
        expect(await readFile(join(here, file), "utf8")).toBe(await readFile(join(there, file), "utf8"));
      }
    }
    const outputs = JSON.parse(await second.state()).deployment.resources.flatMap(
      (resource: { outputs?: { origin?: string } }) => resource.outputs?.origin ?? [],
    );
    expect(new Set(outputs)).toEqual(new Set(["substituted"]));
  });

  test("a second up has nothing to do, and asks neither BuildKit nor the registry", async () => {
    proxy.failAt(/./, answer(500));
    const { code, output } = await second.up(["--refresh"], nobody);
    expect(output).toContain(`${images.length + 2} unchanged`);
    expect(code).toBe(0);
    expect(proxy.asked).toEqual([]);
    proxy.failAt(/never/, answer(500));
  });

  test("an edit builds what it changes and nothing else, from images that were pulled", async () => {
    await second.edit("packages/user/hello/Containerfile", (text) => `# A comment.\n${text}`);
    const { code } = await second.up();
    expect(code).toBe(0);
    expect(await come(second, "built")).toEqual(["user-hello"]);
    expect(await second.digests()).toEqual(published);
    await second.git("checkout", "--quiet", ".");
  });

  test("previews a build for a known digest whose image is not available", async () => {
    const ledger = join(second.folder, ".stagex/ledger");
    await forgetAll();
    await cp(join(first.folder, ".stagex/ledger"), ledger, { recursive: true });
    await second.run(["config", "rm", "stagex:substitute", "--stack", "test"]);
    const preview = await second.run(["preview", "--diff", "--stack", "test"], nobody);
    expect(withoutVerified(preview.output)).not.toContain("[unknown]");
    expect(preview.output).toContain(`${images.length} will build, 0 may be cut off, 0 from the ledger`);
    await second.set("substitute", '["*"]');
  });

  test("without a ledger nothing is pulled on a registry's word alone", async () => {
    await forgetAll();
    proxy.failAt(/never/, answer(500));
    const { code } = await second.up([], nobody);
    expect(code).not.toBe(0);
    expect(await come(second, "substituted")).toEqual([]);
    expect(proxy.asked).toEqual([]);
  });

  test("the tree's published digests are enough where the user trusts them, by glob; of several platforms not all are published", async () => {
    await second.set("substituteTrust", "release");
    await second.set("substitute", '["core-*", "bootstrap-*"]');
    const preview = await second.run(["preview", "--stack", "test"], nobody);
    expect(preview.code).toBe(0);
    const { code } = await second.up();
    expect(code).toBe(0);
    const pulled = images.filter((image) => /^(core|bootstrap)-/.test(image) && !several.includes(image));
    expect(pulled.length).toBeGreaterThan(5);
    expect(await come(second, "substituted")).toEqual(pulled);
    expect(await come(second, "built")).toEqual(images.filter((image) => !pulled.includes(image)));
    expect(await second.digests()).toEqual(published);
  });

  test("what was edited since the digests were published is built, committed or not, and its dependents are not", async () => {
    await forgetAll();
    await second.set("substituteTrust", "release");
    await second.set("substitute", '["*"]');
    await second.edit("packages/core/sh/Containerfile", (text) => `# A comment.\n${text}`);
    await second.commit("A comment");
    await second.edit("packages/user/crc32/Containerfile", (text) => `# A comment.\n${text}`);
    const { code } = await second.up();
    expect(code).toBe(0);
    expect(await come(second, "built")).toEqual([...several, "core-sh", "user-crc32"].sort());
    expect(await second.digests()).toEqual(published);
    await second.git("checkout", "--quiet", ".");
    await second.git("reset", "--quiet", "--hard", "HEAD~1");
  });

  test("what the registry lacks is built, and the output says so", async () => {
    await forgetAll();
    const digest = published["user-true"] ?? "";
    await server.forget("stagex/user-true", digest);
    const { code, output } = await second.up();
    expect(output).toContain(`user-true is built here: ${digest} could not be had from ${proxy.host}/stagex`);
    expect(code).toBe(0);
    expect(await come(second, "built")).toEqual([...several, "user-true"].sort());
    expect(await second.digests()).toEqual(published);
  });

  test("a registry that gives wrong bytes, or none, is named, and its image is built", async () => {
    await forgetAll();
    const wrong = published["user-book"] ?? "";
    const refused = published["user-false"] ?? "";
    proxy.failAt(new RegExp(`manifests/(${wrong}|${refused})`), (request, response, pass) => {
      const fault = request.url?.includes(wrong) ? answer(200, "{}") : answer(403, "no");
      fault(request, response, pass);
    });
    const { code, output } = await second.up();
    expect(output).toMatch(new RegExp(`not substituted: pulling \\S+${wrong}: wrong-bytes: `));
    expect(output).toMatch(new RegExp(`not substituted: pulling \\S+${refused}: refused: .*docker login`));
    expect(code).toBe(0);
    expect(await come(second, "built")).toEqual([...several, "user-book", "user-false", "user-true"].sort());
    expect(await second.digests()).toEqual(published);
    proxy.failAt(/never/, answer(500));
  });

  test("with substituteTrust: quorum a published digest is enough only where enough maintainers signed it", async () => {
    const { images: plans } = await readTree(second.tree);
    const [alice, bob, mallory] = [await newKey("alice"), await newKey("bob"), await newKey("mallory")];
    const people = { alice: { keys: [alice] }, bob: { keys: [bob], brands: ["Intel"] } };
    await writeFile(join(second.folder, "MAINTAINERS"), maintainersOf(people));
    const keys = [alice, bob, mallory].map((key) => key.toPublic().write());
    await writeFile(join(second.folder, "keys.gpg"), Buffer.concat(keys));
    const lookaside = new LookasideFolder(join(second.folder, "signatures"));
    const signers: Record<string, PrivateKey[]> = { "core-sh": [alice], "user-book": [alice, mallory] };
    for (const [image, digest] of Object.entries(published)) {
      const name = `stagex/${image}`;
      const text = payload({ reference: `${name}:${plans.get(image)?.version}`, manifest: digest });
      for (const key of signers[image] ?? [alice, bob])
        await lookaside.write(parseRepository(name), parseDigest(digest), await signedBy(key, text));
    }
    await forgetAll();
    const [settings, below] = [
      { maintainers: "MAINTAINERS", keys: "keys.gpg", signatures: "signatures" },
      Object.keys(signers),
    ];
    for (const [key, value] of Object.entries({ ...settings, substituteTrust: "quorum" }))
      await second.set(key, value);

    const { code, output } = await second.up();
    expect(output).toMatch(
      /core-sh is built here: \S+stagex\/core-sh:\S+@sha256:\w+ is below quorum: 1 of 2 people \(alice\), 1 of 2 vendors \(AuthenticAMD\)/,
    );
    expect(output).toMatch(
      /user-book is built here: .* is below quorum: 1 of 2 people .*nobody's in the roster/,
    );
    expect(code).toBe(0);
    const built = [...several, "user-true", ...below].sort();
    expect(await come(second, "built")).toEqual(built);
    expect(await come(second, "substituted")).toEqual(images.filter((image) => !built.includes(image)));
    expect(await second.digests()).toEqual(published);
  });

  test("with trust quorum an imported release is not enough, but gives forecasts", async () => {
    const { records } = await new Ledger(join(first.folder, ".stagex/ledger")).readAll();
    await forgetAll();
    const ledger = new Ledger(join(second.folder, ".stagex/ledger"));
    for (const { builder: _, ...record } of records)
      await ledger.append({ ...record, builder: { id: "release-1.0", facts: null }, seconds: null });
    const preview = await second.run(["preview", "--diff", "--stack", "test"], nobody);
    expect(withoutVerified(preview.output)).not.toContain("[unknown]");
    // Of those for several platforms only the first one's manifest is signed.
    const unsigned = [...several, "core-sh", "user-book"];
    expect(preview.output).toContain(
      `${unsigned.length} will build, 0 may be cut off, ${images.length - unsigned.length} from the ledger`,
    );
    const { code } = await second.up();
    expect(code).toBe(0);
    expect(await come(second, "built")).toEqual([...unsigned, "user-true"].sort());
    await second.set("substituteTrust", "release");
  });

  test("an image that is damaged in the store is pulled again", async () => {
    const store = await Store.open(join(second.folder, ".stagex/store"));
    const image = await store.find(parseDigest(published["user-crc32"] ?? ""));
    const layer = image?.manifests[0]?.layers.at(-1);
    if (!layer) throw new Error("no layer");
    await rm(store.blobPath(layer.digest));
    const { code, output } = await second.up(["--refresh"], nobody);
    expect(output).toContain(layer.digest.slice("sha256:".length));
    expect(code).toBe(0);
    expect(await come(second, "substituted")).toEqual(["user-crc32"]);
  });

  test("a setting that is wrong is said at once", async () => {
    await second.set("substitute", '["core-shh"]');
    const { code, output } = await second.run(["preview", "--stack", "test"], nobody);
    expect(code).not.toBe(0);
    expect(output).toContain('no image "core-shh"; the nearest is core-sh');
  });
});
