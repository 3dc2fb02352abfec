import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Endpoint } from "../../buildkit/client/endpoint.ts";
import type { Digest } from "../../oci/digest.ts";
import { Registry } from "../../oci/registry/registry.ts";
import { parseRegistryAddress } from "../../oci/registry/registry-address.ts";
import { Store } from "../../oci/store/store.ts";
import { BuildWorkspace, type Built, type Recipe } from "../support/builders/build-workspace.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { answer, FaultyRegistry, hangUp } from "../support/servers/faulty-registry.ts";
import { RegistryServer } from "../support/servers/registry-server.ts";

describeReal("a builder that pulls dependencies", () => {
  let bench: BuildWorkspace;
  let endpoint: Endpoint;
  let server: RegistryServer;
  let faulty: FaultyRegistry;
  let store: Store;
  let daemons = 0;

  beforeAll(async () => {
    bench = await BuildWorkspace.open();
    server = await RegistryServer.start();
    faulty = await FaultyRegistry.before(server.host);
    store = await Store.open(bench.store);
    ({ endpoint } = await bench.daemon());
  });

  afterAll(async () => {
    await faulty?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
    await bench?.close();
  });

  /** A daemon that has nothing of any image. */
  const fresh = async () => (await bench.daemon(`fresh-${++daemons}`)).endpoint;

  /** Builds a dependency, and takes it to the store and to the registry. */
  async function dependency(name: string, platforms: readonly string[]): Promise<Built> {
    const built = await bench.build(endpoint, {
      containerfile:
        "FROM scratch\nARG TARGETARCH\nCOPY file /file\nCOPY file /of-$TARGETARCH\nENV OF=$TARGETARCH\n",
      files: { file: `of ${name}` },
      platforms,
    });
    await store.adopt(built.layout);
    const registry = new Registry(parseRegistryAddress(`${server.host}/stagex`), realTool("registry-client"));
    await registry.push(name, built.index, { store, scratch: join(bench.folder, "push") });
    return built;
  }

  /** An image on one dependency and with files of the other. */
  function dependent(platforms: readonly string[], base: Digest, other: Digest): Recipe {
    return {
      containerfile: "FROM stagex/core-base\nCOPY --from=stagex/core-other /file /copied\nCOPY own /own\n",
      files: { own: "its own" },
      dependencies: { "core-base": base, "core-other": other },
      platforms,
    };
  }

  /** An image on that dependency, with a file of it. */
  const usingBase = (base: Digest): Recipe => ({
    containerfile: "FROM stagex/core-base\nCOPY --from=stagex/core-base /file /copied\n",
    dependencies: { "core-base": base },
  });

  const at = (host: string, ...names: string[]) =>
    Object.fromEntries(names.map((name) => [name, `${host}/stagex/${name}`]));

  test.each([
    ["one platform", ["linux/amd64"]],
    ["two platforms", ["linux/amd64", "linux/arm64"]],
  ])("gives the digests that it gives with those that are sent: %s", async (_, platforms) => {
    const [base, other] = [
      await dependency("core-base", platforms),
      await dependency("core-other", platforms),
    ];
    const named = ({ index, manifests: [first] }: Built) =>
      platforms.length > 1 || !first ? index : first.digest;
    const recipe = dependent(platforms, named(base), named(other));
    const sent = await bench.build(await fresh(), recipe);
    faulty.failAt(/^$/, answer(500));
    const pulled = await bench.build(await fresh(), {
      ...recipe,
      repositories: at(faulty.host, "core-base", "core-other"),
    });
    const layers = faulty.asked.filter((line) => line.startsWith("GET") && line.includes("/blobs/"));
    expect(layers.length).toBeGreaterThanOrEqual(2);
    const mixed = await bench.build(await fresh(), {
      ...recipe,
      repositories: at(server.host, "core-other"),
    });
    expect(pulled.unpulled).toBeUndefined();
    const [none, some] = [{ bytes: 0, seconds: 0 }, expect.objectContaining({ bytes: expect.any(Number) })];
    expect(sent.transfers).toEqual({ store: some, registry: none });
    expect(pulled.transfers).toEqual({ store: none, registry: some });
    expect(pulled.transfers.registry.bytes).toBe(sent.transfers.store.bytes);
    expect(sent.transfers.store.bytes).toBeGreaterThan(0);
    expect(mixed.transfers.store.bytes + mixed.transfers.registry.bytes).toBe(sent.transfers.store.bytes);
    expect(pulled.index).toBe(sent.index);
    expect(pulled.manifests).toEqual(sent.manifests);
    expect(mixed.index).toBe(sent.index);
    expect(sent.manifests.map(({ platform }) => platform)).toEqual(platforms);
    // Layers of dependencies are known by the store, wherever the builder had them from.
    for (const { digest } of base.manifests) {
      const [layer] =
        (await store.find(digest))?.manifests.find((found) => found.digest === digest)?.layers ?? [];
      expect(layer && pulled.layerCheck(layer.digest)).toBeUndefined();
    }
  });

  test("an image for linux/386 alone serves one for linux/amd64, as one that is sent does", async () => {
    const stage = await dependency("bootstrap-stage", ["linux/386"]);
    for (const digest of [stage.index, ...stage.manifests.map((manifest) => manifest.digest)]) {
      const recipe = {
        containerfile: `FROM --platform=linux/386 stagex/bootstrap-stage AS build
FROM scratch AS package
COPY --from=build /of-386 /from-stage
COPY --from=stagex/bootstrap-stage /file /from-image
`,
        dependencies: { "bootstrap-stage": digest },
      };
      const sent = await bench.build(await fresh(), recipe);
      const pulled = await bench.build(await fresh(), {
        ...recipe,
        repositories: at(server.host, "bootstrap-stage"),
      });
      expect(pulled.unpulled).toBeUndefined();
      expect(pulled.index).toBe(sent.index);
      expect(pulled.manifests.map(({ platform }) => platform)).toEqual(["linux/amd64"]);
    }
  });

  test("another image of the registry is refused, and so is a dependency by another name than its digest", async () => {
    const base = await dependency("core-base", ["linux/amd64"]);
    await dependency("core-secret", ["linux/amd64"]);
    const registry = new Registry(parseRegistryAddress(`${server.host}/stagex`), realTool("registry-client"));
    await registry.tag("core-base", base.index, "latest");
    const recipe = (from: string): Recipe => ({
      containerfile: `FROM stagex/core-base\nCOPY --from=${from} /file /stolen\n`,
      dependencies: { "core-base": base.index },
      repositories: at(faulty.host, "core-base"),
    });
    const secret = (await dependency("core-secret", ["linux/amd64"])).index;
    const images = [`core-secret@${secret}`, "core-secret", "core-base", "core-base:latest"];
    for (const from of images.map((image) => `${faulty.host}/stagex/${image}`)) {
      faulty.failAt(/^$/, answer(500));
      await expect(bench.build(endpoint, recipe(from)), from).rejects.toThrow(/denied by policy/);
      expect(faulty.asked.filter((line) => line.includes("secret") || line.includes("latest"))).toEqual([]);
    }
    const allowed = `${faulty.host}/stagex/core-base@${base.index}`;
    expect((await bench.build(endpoint, recipe(allowed))).manifests).toHaveLength(1);
  });

  test.each([
    ["layer", /GET .*\/blobs\//],
    ["manifest", /GET .*\/manifests\//],
  ])("a registry that gives another %s than its digest says is caught", async (_, at_) => {
    const base = await dependency("core-base", ["linux/amd64"]);
    const [manifest] = base.manifests;
    const layers = manifest && (await store.find(manifest.digest))?.manifests[0]?.layers;
    faulty.failAt(at_, (request, response, pass) => {
      const { url = "" } = request;
      if (url.includes("/blobs/") && !layers?.some(({ digest }) => url.endsWith(digest))) return pass();
      lying(server.host, request, response);
    });
    const recipe = usingBase(base.index);
    const daemon = await fresh();
    const other = {
      containerfile: 'FROM scratch\nADD probe /probe\nRUN ["/probe", "write", "/out", "kept"]\n',
      files: { probe: bench.probe },
    };
    await bench.build(daemon, other);
    const built = await bench.build(daemon, { ...recipe, repositories: at(faulty.host, "core-base") });
    expect(built.unpulled?.message).toMatch(/unexpected commit digest sha256:[0-9a-f]{64}, expected sha256:/);
    expect(faulty.asked.length).toBeGreaterThan(0);
    expect(built.index).toBe((await bench.build(await fresh(), recipe)).index);
    // The daemon forgot the wrong bytes, and nothing of its cache.
    const again = await bench.build(daemon, other);
    expect(again.events).toContainEqual(expect.objectContaining({ step: "2/2", status: "cached" }));
  });

  test("a registry that is down neither loses the builder nor fails the image", async () => {
    const base = await dependency("core-base", ["linux/amd64"]);
    const recipe = usingBase(base.index);
    const expected = await bench.build(await fresh(), recipe);
    faulty.failAt(/./, hangUp);
    for (const host of ["127.0.0.1:9", faulty.host, "registry.invalid"]) {
      const built = await bench.build(await fresh(), { ...recipe, repositories: at(host, "core-base") });
      expect(built.index).toBe(expected.index);
      expect(built.unpulled?.message, host).toContain(`${host}/stagex/core-base@${base.index}`);
      expect(built.transfers.registry.bytes).toBe(0);
      expect(built.transfers.store.bytes).toBeGreaterThan(0);
    }
  });

  test("a failing program is not run again with what is sent", async () => {
    const base = await dependency("core-base", ["linux/amd64"]);
    const { containerfile, ...recipe } = usingBase(base.index);
    const failing = bench.build(await fresh(), {
      ...recipe,
      containerfile: `${containerfile}ADD probe /probe\nRUN ["/probe", "fail", "7"]\n`,
      files: { probe: bench.probe },
      repositories: at(server.host, "core-base"),
    });
    await expect(failing).rejects.toMatchObject({ exitCode: 7, infrastructureFailure: undefined });
    expect((await bench.lastLog()).match(/load build definition/g)).toHaveLength(1);
  });
});

/** Passes the registry's answer on with its last byte changed. */
async function lying(
  behind: string,
  { url, headers }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const answered = await fetch(`http://${behind}${url}`, { headers: { accept: headers.accept ?? "*/*" } });
  const bytes = Buffer.from(await answered.arrayBuffer());
  const last = bytes.length - 1;
  bytes[last] = (bytes[last] ?? 0) ^ 1;
  const kept = ["content-type", "docker-content-digest"].flatMap((name) => {
    const value = answered.headers.get(name);
    return value === null ? [] : [[name, value] as const];
  });
  response.writeHead(200, { ...Object.fromEntries(kept), "content-length": bytes.length });
  response.end(bytes);
}
