import { rmSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import { type PrivateKey, revokeKey } from "openpgp";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { digestOf } from "../../oci/digest.ts";
import { Registry } from "../../oci/registry/registry.ts";
import { parseRegistryAddress } from "../../oci/registry/registry-address.ts";
import { TargetRegistry } from "../../pipeline/publication/target-registry.ts";
import { unknown } from "../../pipeline/unknown-schema.ts";
import { encodeProperties, type PropertyMap } from "../../providers/stagex/protocol/property-values.ts";
import { parseRepository } from "../../trust/signatures/image-reference.ts";
import { signatureFolder } from "../../trust/signatures/signature-file.ts";
import { loneRevocation } from "../support/builders/key-folder.ts";
import { newKey } from "../support/builders/maintainers.ts";
import { flipByte } from "../support/builders/project.ts";
import { type Candidate, Publishing, urnOf } from "../support/builders/publishing.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { answer, atFirst, cutOff, type Fault, hangUp } from "../support/servers/faulty-registry.ts";

const allTags = ["1.0", "latest", "sx2026.03.0"];

describeReal("an image is published at quorum, whole, and its tags last", () => {
  let publishing: Publishing;
  let image: Candidate;

  beforeAll(async () => {
    publishing = await Publishing.start();
  });

  afterAll(() => publishing[Symbol.asyncDispose]());

  beforeEach(async ({ task }) => {
    image = await publishing.image(task.name);
    publishing.proxy.failAt(/never/, answer(500));
    publishing.provider.log.length = 0;
  });

  afterEach(() => publishing.proxy.failAt(/never/, answer(500)));

  const host = () => `${publishing.proxy.host}/stagex`;
  const sent = () => publishing.proxy.asked.filter((line) => /^(POST|PUT|PATCH|DELETE)/.test(line));
  const all = (digest: string) => Object.fromEntries(allTags.map((tag) => [tag, digest]));
  const registry = () =>
    new Registry(parseRegistryAddress(`${publishing.server.host}/stagex`), realTool("registry-client"));
  const lookasideOf = (manifest = image.digest) =>
    join(publishing.folder, "public", signatureFolder(parseRepository(`stagex/${image.name}`), manifest));

  /** What the provider logs may arrive after its answer. */
  async function logged(words: string | RegExp): Promise<void> {
    await vi.waitFor(() => expect(publishing.shown()).toMatch(words));
  }

  async function expectWhole(digest = image.digest): Promise<void> {
    expect(await publishing.tags(image)).toEqual(all(digest));
    expect(await registry().audit(image.name, digest)).toEqual([]);
  }

  async function expectNothing(): Promise<void> {
    expect(await publishing.server.tagsOf(`stagex/${image.name}`)).toEqual([]);
    expect(sent()).toEqual([]);
  }

  test("blobs, then the manifest, then the version's tag, the release's and latest; and the signatures", async () => {
    const outputs = await publishing.create(image.inputs);
    expect(outputs).toEqual({
      published: true,
      target: image.digest,
      tags: Object.fromEntries(allTags.map((tag) => [`${host()}/${image.name}:${tag}`, image.digest])),
      signatures: [expect.stringContaining(image.name), expect.stringContaining(image.name)],
      drift: [],
      onDelete: "keep",
    });
    await expectWhole();
    expect(await publishing.server.digestOf(`stagex/${image.name}`, image.layout.index)).toBeNull();
    const puts = sent()
      .filter((line) => line.startsWith("PUT"))
      .map((line) =>
        line
          .replace(/\?.*/, "")
          .split("/")
          .slice(4)
          .join("/")
          .replace(/uploads\/.*/, "uploads"),
      );
    expect(puts).toEqual([
      ...Array(3).fill("blobs/uploads"),
      `manifests/${image.digest}`,
      "manifests/1.0",
      "manifests/sx2026.03.0",
      "manifests/latest",
    ]);
    const copied = await Promise.all(
      ["signature-1", "signature-2"].map((file) => readFile(join(lookasideOf(), file))),
    );
    const original = publishing.files.lookaside.folder;
    const folder = signatureFolder(parseRepository(`stagex/${image.name}`), image.digest);
    for (const [at, bytes] of copied.entries())
      expect(bytes.equals(await readFile(join(original, folder, `signature-${at + 1}`)))).toBe(true);
  });

  test("what is there already is not sent, tagged or written again", async () => {
    const first = await publishing.create(image.inputs);
    publishing.proxy.failAt(/never/, answer(500));
    expect(await publishing.update(image.inputs, first)).toEqual(first);
    expect(sent()).toEqual([]);
    expect((await readdir(lookasideOf())).sort()).toEqual(["signature-1", "signature-2"]);
  });

  test("an image for several platforms: the tags point at the index, all of whose manifests are signed", async () => {
    image = await publishing.image("several platforms", { platforms: ["linux/amd64", "linux/arm64"] });
    const outputs = await publishing.create(image.inputs);
    expect(outputs.target).toBe(image.layout.index);
    await expectWhole(image.layout.index);
    for (const manifest of image.layout.manifests)
      expect(await readdir(lookasideOf(manifest))).toHaveLength(2);
  });

  test("evaluates a met quorum again, and sends nothing below it", async () => {
    image = await publishing.image("below quorum", { signers: ["alice"] });
    await expect(publishing.create(image.inputs)).rejects.toThrow(/is below quorum.*1 of 2 people \(alice\)/);
    await expectNothing();
    expect(publishing.proxy.asked).toEqual([]);
  });

  test("sends nothing if one platform's manifest lacks a signature, or the index names another", async () => {
    const platforms = ["linux/amd64", "linux/arm64"];
    image = await publishing.image("a platform below quorum", { platforms, signers: [] });
    const [first = image.digest] = image.layout.manifests;
    for (const signer of ["alice", "bob"])
      await publishing.files.sign(publishing.people, signer, { reference: image.reference, digest: first });
    await expect(publishing.create(image.inputs)).rejects.toThrow(/is below quorum/);
    await expectNothing();

    const other = await publishing.image("another index", { platforms });
    image = await publishing.image("an index of strays", { platforms });
    const inputs = { ...image.inputs, index: other.layout.index };
    await expect(publishing.create(inputs)).rejects.toThrow(/not one over the manifests that were signed/);
    await expectNothing();
  });

  test("publishes nothing if deferred, reports that, and keeps what was published before", async () => {
    const later = { ...image.inputs, quorum: { met: false, accepted: [] } };
    expect(await publishing.create(later)).toMatchObject({ published: false, tags: {}, signatures: [] });
    await expectNothing();
    const outputs = await publishing.create(image.inputs);
    expect(await publishing.update(later, outputs)).toMatchObject({ published: false, tags: outputs.tags });
    await logged(/is no longer at quorum.*stay/);
    await expectWhole();
  });

  test("a preview shows what is certain, and asks no registry", async () => {
    const preview = (inputs: PropertyMap) => publishing.create(inputs, { preview: true });
    expect(await preview(image.inputs)).toMatchObject({
      published: true,
      target: image.digest,
      signatures: unknown,
    });
    const { lookaside: _lookaside, ...unfiled } = image.inputs;
    expect(await preview(unfiled)).toMatchObject({ published: true, signatures: [] });
    expect(await preview({ ...image.inputs, quorum: { met: false } })).toMatchObject({
      published: false,
      tags: {},
    });
    const pending = await preview({ ...image.inputs, quorum: { met: unknown, accepted: unknown } });
    expect(Object.values(pending)).toEqual(Array(6).fill(unknown));
    expect(publishing.proxy.asked).toEqual([]);
  });

  test("reports a difference by its property; the order of tags is no difference", async () => {
    const diff = async (news: PropertyMap) => {
      const request = new messages.DiffRequest();
      request.setUrn(urnOf(image.inputs));
      request.setId(image.name);
      request.setOldInputs(encodeProperties(image.inputs));
      request.setNews(encodeProperties({ ...image.inputs, ...news }));
      const response = await publishing.provider.call("diff", request);
      const paths: string[] = [];
      response.getDetaileddiffMap().forEach((_change, path) => {
        paths.push(path);
      });
      return { paths, replaces: response.getReplacesList() };
    };
    expect(await diff({ tags: ["latest", "1.0", "sx2026.03.0"] })).toEqual({ paths: [], replaces: [] });
    expect(await diff({ tags: ["1.0"], digest: digestOf("") })).toEqual({
      paths: ["digest", "tags"],
      replaces: [],
    });
    expect(await diff({ quorum: { met: false, accepted: [] } })).toEqual({
      paths: ["quorum.met"],
      replaces: [],
    });
    expect(await diff({ image: "core-other" })).toEqual({ paths: ["image"], replaces: ["image"] });
  });

  test("refuses bad inputs before anything is sent, and never prints a password", async () => {
    const failures = async (news: PropertyMap) => {
      const request = new messages.CheckRequest();
      request.setUrn(urnOf(image.inputs));
      request.setNews(encodeProperties({ ...image.inputs, ...news }));
      const response = await publishing.provider.call("check", request);
      return response.getFailuresList().map((failure) => `${failure.getProperty()}: ${failure.getReason()}`);
    };
    expect(await failures({})).toEqual([]);
    const [secret = ""] = await failures({ destinations: ["alice:open-sesame@registry.example/stagex"] });
    expect(secret).toMatch(/^destinations\[0\]: .*docker login/);
    expect(secret).not.toMatch(/sesame|alice/);
    expect(await failures({ tags: ["1.0+git"] })).toEqual([expect.stringMatching(/^tags\[0\]: not a tag/)]);
    expect(await failures({ image: "core-libstdc++" })).toEqual([
      expect.stringMatching(/^image: .*no repository/),
    ]);
    expect(await failures({ image: "core-openssl" })).toEqual([
      `image: is core-openssl, but the signatures are for ${image.reference}`,
    ]);
    expect(await failures({ tags: ["1.0", "2.0", "latest", "sx2026.03.0"] })).toEqual([
      expect.stringMatching(/^tags\[1\]: 2\.0 is not the signed tag of stagex\/core-/),
    ]);
    const digests = { "linux/amd64": image.digest, "linux/arm64": digestOf("") };
    expect(await failures({ digests })).toEqual([expect.stringMatching(/^index: is required/)]);
  });

  describe("bytes", () => {
    test("come from a registry if the store lacks them; without one nothing is tagged", async () => {
      const damaged = publishing.store.blobPath(image.layout.layers[0] ?? image.digest);
      await registry().push(image.name, image.digest, {
        store: publishing.store,
        scratch: join(publishing.folder, "scratch"),
      });
      await publishing.server.forget(`stagex/${image.name}`, image.digest);
      await flipByte(damaged);
      await expect(publishing.create(image.inputs)).rejects.toThrow(
        /the store does not have sha256:\w+ whole/,
      );
      await expectNothing();

      image = await publishing.image("from a registry");
      await registry().push(image.name, image.digest, {
        store: publishing.store,
        scratch: join(publishing.folder, "scratch"),
      });
      await flipByte(publishing.store.blobPath(image.layout.layers[0] ?? image.digest));
      const config = { substituteFrom: `${publishing.server.host}/stagex` };
      const provider = await publishing.anotherProvider({ config });
      await publishing.create({ ...image.inputs, digests: { "linux/amd64": image.digest } }, { provider });
      await provider[Symbol.asyncDispose]();
      await expectWhole();
    });
  });

  test("are not published if the quorum is lost while they are fetched", async () => {
    await registry().push(image.name, image.digest, {
      store: publishing.store,
      scratch: join(publishing.folder, "scratch"),
    });
    await flipByte(publishing.store.blobPath(image.layout.layers[0] ?? image.digest));
    const folder = signatureFolder(parseRepository(`stagex/${image.name}`), image.digest);
    publishing.proxy.failAt(/GET .*blobs/, (_request, _response, pass) => {
      rmSync(join(publishing.files.lookaside.folder, folder, "signature-2"), { force: true });
      pass();
    });
    const provider = await publishing.anotherProvider({ config: { substituteFrom: host() } });
    try {
      const digests = { "linux/amd64": image.digest };
      await expect(publishing.create({ ...image.inputs, digests }, { provider })).rejects.toThrow(
        /below quorum.*1 of 2 people/,
      );
    } finally {
      await provider[Symbol.asyncDispose]();
    }
    await expectNothing();
  });

  test("a key that is revoked while a run goes on counts no more in it", async () => {
    const provider = await publishing.anotherProvider();
    const other = await publishing.image("before the revocation");
    await publishing.create(other.inputs, { provider });
    const file = join(publishing.folder, "keys/bob.asc");
    const [bob = expect.fail()] = publishing.people.bob?.keys ?? [];
    const before = await readFile(file);
    const { publicKey } = await revokeKey({ key: bob as PrivateKey, format: "object" });
    await writeFile(file, publicKey.armor());
    try {
      await expect(publishing.create(image.inputs, { provider })).rejects.toThrow(
        /is not published: the roster or its keys changed since the run began/,
      );
    } finally {
      await writeFile(file, before);
      await provider[Symbol.asyncDispose]();
    }
    expect(await publishing.server.tagsOf(`stagex/${image.name}`)).toEqual([]);
  });

  test.each([
    [
      "that stands alone, of a key that is not here",
      async () => await loneRevocation(await newKey("mallory")),
    ],
    [
      "whose armor is damaged",
      async () => (await loneRevocation(await newKey("mallory"))).replace("-----BEGIN", "BEGIN"),
    ],
  ])("a revocation %s stops what hangs on it, and names the file", async (_, content) => {
    const file = join(publishing.folder, "keys/former/rev.asc");
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, await content());
    const provider = await publishing.anotherProvider();
    try {
      await expect(publishing.create(image.inputs, { provider })).rejects.toThrow(
        /is not published: it can't be told to be at quorum, .*keys may be revoked: former\/rev\.asc: it /,
      );
    } finally {
      await rm(dirname(file), { recursive: true });
      await provider[Symbol.asyncDispose]();
    }
    await expectNothing();
  });

  describe("a registry that fails", () => {
    const busy: Fault = (_request, response) => {
      response.writeHead(429, { "retry-after": "2", "content-type": "application/json" });
      response.end('{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}');
    };

    test.each([
      ["429 with Retry-After at a tag", /PUT .*manifests\/latest/, atFirst(4, busy)],
      ["503 at an upload, for longer than crane itself tries", /POST .*uploads/, atFirst(14, answer(503))],
      ["a cut in an upload", /PATCH .*uploads/, atFirst(2, hangUp)],
      ["a cut in an answer", /GET .*manifests/, atFirst(2, cutOff)],
    ])("%s is outlasted", async (_name, at, fault) => {
      publishing.proxy.failAt(at, fault);
      await publishing.create(image.inputs);
      await expectWhole();
    });

    test.each([
      ["HTML with 200 at an upload", /(HEAD|POST|PUT|PATCH) .*blobs/, answer(200, "<html>", "text/html")],
      [
        "HTML with 200 at a manifest",
        /(PUT|GET|HEAD) .*manifests\/sha256/,
        answer(200, "<html>", "text/html"),
      ],
      ["403 at the manifest", /PUT .*manifests\/sha256/, answer(403, "read-only")],
      ["a wrong digest", /GET .*manifests\/sha256/, answer(200, '{"schemaVersion":2}')],
    ])("%s: nothing is tagged; the next run publishes all", async (_name, at, fault) => {
      publishing.proxy.failAt(at, fault);
      await expect(publishing.create(image.inputs)).rejects.toThrow(`stagex/${image.name}`);
      expect(await publishing.server.tagsOf(`stagex/${image.name}`)).toEqual([]);
      publishing.proxy.failAt(/never/, answer(500));
      await publishing.create(image.inputs);
      await expectWhole();
    });

    test("one that dies in the middle of a blob, and comes back", async () => {
      let uploads = 0;
      publishing.proxy.failAt(/PATCH .*uploads/, (request, _response, pass) => {
        uploads += 1;
        if (uploads !== 2) return pass();
        void publishing.server.kill().then(async () => {
          request.socket.destroy();
          await new Promise((resolve) => setTimeout(resolve, 6_000));
          await publishing.server.restart();
        });
      });
      await publishing.create(image.inputs);
      expect(uploads).toBeGreaterThan(2);
      await expectWhole();
    });

    test("one that has the manifest, and has lost a blob of it, is sent the blob again", async () => {
      await publishing.create({ ...image.inputs, tags: ["0.9"] });
      await publishing.server.lose(`stagex/${image.name}`, image.layout.layers[1] ?? "");
      await publishing.create(image.inputs);
      expect(await registry().audit(image.name, image.digest)).toEqual([]);
      expect(await publishing.tags(image)).toEqual({ ...all(image.digest), "0.9": image.digest });
    });
  });

  describe("a refresh", () => {
    let outputs: PropertyMap;

    beforeEach(async () => {
      outputs = await publishing.create(image.inputs);
    });

    test("finds nothing where all is as it was published", async () => {
      expect(await publishing.read(image.inputs, outputs)).toEqual(outputs);
    });

    test("tells a tag that was moved, and one that is gone; the next up puts them back, and names both digests", async () => {
      const other = await publishing.image("somebody else's");
      await registry().push(image.name, other.digest, {
        store: publishing.store,
        scratch: join(publishing.folder, "scratch"),
      });
      await registry().tag(image.name, other.digest, "latest");
      await registry().untag(image.name, "1.0");
      const { reasons, outputs: drifted } = await publishing.drift(image.inputs, outputs);
      expect(reasons).toEqual([
        `the tag ${host()}/${image.name}:1.0 is gone; it pointed at ${image.digest}; the next up restores it`,
        `the tag ${host()}/${image.name}:latest points at ${other.digest}, not at ${image.digest}; the next up restores it`,
      ]);
      expect(drifted.drift).toHaveLength(2);
      expect(await publishing.update(image.inputs, drifted)).toEqual(outputs);
      await logged(`:latest had been moved to ${other.digest}, and was reset to ${image.digest}`);
      await expectWhole();
      expect(await publishing.read(image.inputs, outputs)).toEqual(outputs);
    });

    test("tells blobs, a manifest and signatures that got lost, and the next up sends them again", async () => {
      const lost = image.layout.layers[0] ?? "";
      await publishing.server.lose(`stagex/${image.name}`, lost);
      await rm(join(lookasideOf(), "signature-2"));
      const { reasons, outputs: drifted } = await publishing.drift(image.inputs, outputs);
      expect(reasons).toEqual([
        expect.stringContaining(`lacks the blob ${lost}`),
        expect.stringMatching(/the lookaside no longer has stagex\/\S+#sha256:\w+/),
      ]);
      expect(await publishing.update(image.inputs, drifted)).toEqual(outputs);
      await expectWhole();

      await publishing.server.forget(`stagex/${image.name}`, image.digest);
      const again = await publishing.drift(image.inputs, outputs);
      expect(again.reasons[0]).toContain(`does not have ${image.digest} any more`);
      await publishing.update(image.inputs, again.outputs);
      await expectWhole();
    });

    test("reports no drift if the registry does not answer", async () => {
      publishing.proxy.failAt(/manifests/, answer(403, "no"));
      await expect(publishing.drift(image.inputs, outputs)).rejects.toThrow(/refused.*docker login/);
    });
  });

  test("a new release moves the tags, and says where they pointed", async () => {
    const before = await publishing.create(image.inputs);
    const next = await publishing.image("the next release", { signers: [] });
    for (const signer of ["alice", "bob"])
      await publishing.files.sign(publishing.people, signer, {
        reference: image.reference,
        digest: next.digest,
      });
    await publishing.update({ ...image.inputs, digest: next.digest, tags: ["1.0", "latest"] }, before);
    expect(await publishing.tags(image)).toEqual({
      "1.0": next.digest,
      latest: next.digest,
      "sx2026.03.0": image.digest,
    });
    expect(await registry().audit(image.name, image.digest)).toEqual([]);
  });

  describe("deleted", () => {
    test("keeps the image published, and names onDelete", async () => {
      const outputs = await publishing.create(image.inputs);
      await publishing.delete(image.inputs, outputs);
      await expectWhole();
      await logged('set onDelete to "untag"');
    });

    test("with onDelete untag, removes its own tags and keeps the image", async () => {
      const outputs = await publishing.create({ ...image.inputs, onDelete: "untag" });
      const other = await publishing.image("somebody else's latest");
      await registry().push(image.name, other.digest, {
        store: publishing.store,
        scratch: join(publishing.folder, "scratch"),
      });
      await registry().tag(image.name, other.digest, "latest");
      await publishing.delete(image.inputs, outputs);
      expect(await publishing.tags(image)).toEqual({ latest: other.digest });
      expect(await registry().audit(image.name, image.digest)).toEqual([]);
      await logged(`:latest is not removed: it points at ${other.digest}`);
      await publishing.delete(image.inputs, outputs);
    });
  });

  test("two runs at once do not disturb each other", async () => {
    const provider = await publishing.anotherProvider();
    const both = await Promise.all([
      publishing.create(image.inputs),
      publishing.create(image.inputs, { provider }),
    ]);
    await provider[Symbol.asyncDispose]();
    expect(both[0]).toEqual(both[1]);
    await expectWhole();
    expect((await readdir(lookasideOf())).sort()).toEqual(["signature-1", "signature-2"]);
  });

  test("SIGKILL at any moment leaves no tag at a missing blob, and the next run publishes all", async () => {
    const began = performance.now();
    await publishing.create(image.inputs);
    // The first one of a busy machine may take longer than the others.
    let whole = performance.now() - began;
    let half = 0;
    for (let round = 0; round < 20; round += 1) {
      const moment = (whole * ((round * 7) % 16)) / 16;
      image = await publishing.image(`killed ${round}`);
      const provider = await publishing.anotherProvider();
      const creating = publishing.create(image.inputs, { provider }).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, moment));
      provider.process.kill("SIGKILL");
      await creating;
      await provider[Symbol.asyncDispose]();
      const tags = await publishing.tags(image);
      for (const digest of Object.values(tags)) expect(digest).toBe(image.digest);
      if (Object.keys(tags).length > 0) expect(await registry().audit(image.name, image.digest)).toEqual([]);
      if (Object.keys(tags).length < allTags.length) half += 1;
      else whole = Math.min(whole, moment);
      await publishing.create(image.inputs);
      await expectWhole();
      expect((await readdir(lookasideOf())).sort()).toEqual(["signature-1", "signature-2"]);
    }
    expect(half).toBeGreaterThan(5);
  });

  test("a registry that is gone is waited for once, not once for each image", async () => {
    const lines: string[] = [];
    const nobody = new Registry(parseRegistryAddress("127.0.0.1:1/stagex"), realTool("registry-client"));
    const destination = new TargetRegistry(nobody, 3_000);
    const work = {
      signal: new AbortController().signal,
      progress: (line: string) => lines.push(line),
      report: () => {},
    };
    const asked = () => destination.digestOfTag(image.name, "1.0", work);
    await expect(asked()).rejects.toMatchObject({ problem: "unreachable" });
    expect(lines).toEqual(
      expect.arrayContaining([expect.stringMatching(/unreachable.*trying again in \d s/)]),
    );
    const began = performance.now();
    await expect(asked()).rejects.toThrow(/^127\.0\.0\.1:1\/stagex was waited for in vain/);
    expect(performance.now() - began).toBeLessThan(100);
  });
});
