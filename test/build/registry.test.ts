import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { LayoutError } from "../../oci/layout-error.ts";
import { Registry, type TransferOptions } from "../../oci/registry/registry.ts";
import { parseRegistryAddress } from "../../oci/registry/registry-address.ts";
import { RegistryError } from "../../oci/registry/registry-error.ts";
import type { ImageToPull } from "../../oci/registry/registry-pull.ts";
import { Store } from "../../oci/store/store.ts";
import { type LayoutRecipe, type WrittenLayout, writeLayout } from "../support/builders/image-layout.ts";
import { flipByte } from "../support/builders/project.ts";
import { runKillable } from "../support/programs/killable.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import {
  answer,
  atFirst,
  cutOff,
  type Fault,
  FaultyRegistry,
  hangUp,
} from "../support/servers/faulty-registry.ts";
import { RegistryServer } from "../support/servers/registry-server.ts";

const single: LayoutRecipe = {
  platforms: {
    "linux/amd64": {
      layers: [[{ name: "bin/hello", content: "x86" }], [{ name: "etc/motd", content: "hi" }]],
    },
  },
};
const several: LayoutRecipe = {
  platforms: {
    "linux/amd64": { layers: [[{ name: "bin/hello", content: "x86" }]] },
    "linux/arm64": { layers: [[{ name: "bin/hello", content: "arm" }]] },
  },
};

describeReal("images come from a real registry and go to one", () => {
  let home: string;
  let server: RegistryServer;
  let proxy: FaultyRegistry;
  let image: WrittenLayout;
  let images: WrittenLayout;

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), "stagex-test-"));
    server = await RegistryServer.start();
    proxy = await FaultyRegistry.before(server.host);
    image = await push("core-one", single);
    images = await push("core-two", several);
  });

  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await rm(home, { recursive: true, force: true });
  });

  async function workplace(): Promise<TransferOptions & { folder: string }> {
    const folder = await mkdtemp(join(home, "place-"));
    const scratch = join(folder, "scratch");
    await mkdir(scratch);
    return { folder, scratch, store: await Store.open(join(folder, "store")) };
  }

  async function push(name: string, recipe: LayoutRecipe): Promise<WrittenLayout> {
    const { folder, ...exchange } = await workplace();
    const layout = await writeLayout(join(folder, "layout"), recipe);
    await exchange.store.adopt(layout.folder);
    await registryAt(server.host).push(name, layout.index, exchange);
    return layout;
  }

  function registryAt(host: string): Registry {
    return new Registry(parseRegistryAddress(`${host}/stagex`), realTool("registry-client"));
  }

  function wanted(digest: Digest | undefined, name = "core-one"): ImageToPull {
    return { image: name, version: "1.0", digest: digest ?? digestOf(""), platform: "linux/amd64" };
  }

  /** Pulls through the proxy, and expects that it fails for this blob, and that nothing half is left behind. */
  async function problemOfPulling(
    asked: ImageToPull,
    culprit: Digest = asked.digest,
  ): Promise<RegistryError> {
    const { folder, ...exchange } = await workplace();
    const error = await registryAt(proxy.host)
      .pull(asked, exchange)
      .catch((thrown: unknown) => thrown);
    if (!(error instanceof RegistryError)) throw error;
    expect(error.message).toContain(`stagex/${asked.image}@${culprit}: ${error.problem}: `);
    expect(await exchange.store.find(asked.digest)).toBeNull();
    expect(await readdir(exchange.scratch)).toEqual([]);
    expect(await readdir(join(folder, "store/blobs/sha256"))).toEqual([]);
    expect(await readdir(join(folder, "store/tmp"))).toEqual([]);
    return error;
  }

  test("an image of one platform is pulled by its manifest, and is whole", async () => {
    const { folder, ...exchange } = await workplace();
    const pulled = await registryAt(server.host).pull(wanted(image.manifests[0]), exchange);
    expect(pulled.manifests.map(({ digest }) => digest)).toEqual(image.manifests);
    expect(await exchange.store.find(image.manifests[0] ?? digestOf(""))).toEqual(pulled);
    expect(await exchange.store.audit(pulled.index)).toEqual([]);
    expect(await readdir(exchange.scratch)).toEqual([]);
    await exchange.store.export(pulled.index, join(folder, "out"));
    const [entry] = JSON.parse(await readFile(join(folder, "out/index.json"), "utf8")).manifests;
    expect(entry.annotations["io.containerd.image.name"]).toBe("docker.io/stagex/core-one:1.0");
  });

  test("an image of several platforms is pulled by its index, the very one that was pushed", async () => {
    const exchange = await workplace();
    const pulled = await registryAt(server.host).pull(wanted(images.index, "core-two"), exchange);
    expect(pulled.index).toBe(images.index);
    expect(pulled.manifests.map(({ digest }) => digest)).toEqual(images.manifests);
    expect(await exchange.store.audit(pulled.index)).toEqual([]);
  });

  test("layers that the store has are not asked for again", async () => {
    const exchange = await workplace();
    await registryAt(proxy.host).pull(wanted(image.manifests[0]), exchange);
    proxy.failAt(/never/, answer(500));
    await registryAt(proxy.host).pull(wanted(image.index), exchange);
    expect(proxy.asked.filter((path) => image.layers.some((layer) => path.includes(layer)))).toEqual([]);
    expect(proxy.asked.length).toBeGreaterThan(2);
  });

  test("a tag that was set points at exactly what was pushed", async () => {
    const registry = registryAt(server.host);
    await registry.tag("core-one", image.index, "sx2026.03.0");
    expect(await server.digestOf("stagex/core-one", "sx2026.03.0")).toBe(image.index);
  });

  describe("pushing through a registry that fails", () => {
    let exchange: TransferOptions;
    let pushed: WrittenLayout;
    let name: string;

    beforeEach(async ({ task }) => {
      const { folder, ...rest } = await workplace();
      exchange = rest;
      name = `core-${digestOf(task.name).slice(7, 19)}`;
      // Layers of its own, which no other test has pushed.
      const layers = [[{ name, content: task.name }]];
      const platforms = { "linux/amd64": { layers }, "linux/arm64": { layers } };
      pushed = await writeLayout(join(folder, "layout"), { platforms });
      await exchange.store.adopt(pushed.folder);
    });

    afterEach(() => proxy.failAt(/never/, answer(500)));

    test.each([
      ["429 at an upload's begin", /POST .*uploads/, answer(429, "slow down")],
      ["500 at an upload's end", /PUT .*uploads/, answer(500, "oops")],
      ["a cut in an upload", /PATCH .*uploads/, hangUp],
      ["503 at a manifest", /PUT .*manifests/, answer(503, "<html>", "text/html")],
      ["a cut at a manifest", /PUT .*manifests/, hangUp],
    ])("%s is tried again", async (_name, at, fault) => {
      proxy.failAt(at, atFirst(1, fault));
      await registryAt(proxy.host).push(name, pushed.index, exchange);
      expect(proxy.asked.filter((path) => at.test(path)).length).toBeGreaterThan(1);
      expect(await server.digestOf(`stagex/${name}`, pushed.index)).toBe(pushed.index);
      expect(await readdir(exchange.scratch)).toEqual([]);
    });

    test("what fails for good is named, leaves no index behind, and is pushed whole the next time", async () => {
      proxy.failAt(/PUT .*manifests/, answer(403, "read-only"));
      const pushing = registryAt(proxy.host).push(name, pushed.index, exchange);
      await expect(pushing).rejects.toMatchObject({ problem: "refused" });
      expect(await server.digestOf(`stagex/${name}`, pushed.index)).toBeNull();
      proxy.failAt(/never/, answer(500));
      await registryAt(proxy.host).push(name, pushed.index, exchange);
      const pulled = await registryAt(server.host).pull(wanted(pushed.index, name), await workplace());
      expect(pulled.manifests.map(({ digest }) => digest)).toEqual(pushed.manifests);
    });

    test("a damaged blob is never pushed", async () => {
      await flipByte(exchange.store.blobPath(pushed.layers[0] ?? pushed.index));
      proxy.failAt(/never/, answer(500));
      const pushing = registryAt(proxy.host).push(name, pushed.index, exchange);
      await expect(pushing).rejects.toThrow(LayoutError);
      expect(proxy.asked).toEqual([]);
    });

    test("detects a registry that accepts a push and has other bytes", async () => {
      const index = '{"schemaVersion":2,"manifests":[]}';
      const type = "application/vnd.oci.image.index.v1+json";
      proxy.failAt(new RegExp(`GET .*manifests/${pushed.index}`), answer(200, index, type));
      const pushing = registryAt(proxy.host).push(name, pushed.index, exchange);
      await expect(pushing).rejects.toMatchObject({ problem: "wrong-bytes" });
    });
  });

  test("what the registry does not have is absent", async () => {
    const { problem } = await problemOfPulling(wanted(digestOf("never pushed")));
    expect(problem).toBe("absent");
    expect((await problemOfPulling(wanted(image.manifests[0], "core-none"))).problem).toBe("absent");
  });

  test.each([
    ["401", answer(401, '{"errors":[{"code":"UNAUTHORIZED","message":"log in"}]}'), "refused"],
    ["403 without the spec's code", answer(403, "no"), "refused"],
    ["404 as a web page", answer(404, "<html>", "text/html"), "absent"],
    ["a web page with 200", answer(200, "<html>log in</html>", "text/html"), "not-a-registry"],
    ["other bytes with 200", answer(200, '{"schemaVersion":2}'), "wrong-bytes"],
  ])("%s is named, and not asked for again", async (_name, fault, expected) => {
    const asked = wanted(image.manifests[0]);
    for (const culprit of [asked.digest, image.configs[0], image.layers[0]]) {
      const at = new RegExp(`(manifests|blobs)/${culprit}`);
      proxy.failAt(at, fault);
      expect((await problemOfPulling(asked, culprit)).problem).toBe(expected);
      expect(proxy.asked.filter((path) => at.test(path))).toHaveLength(1);
    }
  });

  test.each([
    ["429", answer(429, '{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'), "overloaded"],
    ["500", answer(500, "oops"), "server-error"],
    ["503 as a web page", answer(503, "<html>", "text/html"), "server-error"],
    ["a cut connection", cutOff, "cut-off"],
  ])("%s is tried again, but not for ever", async (_name, fault, expected) => {
    const at = new RegExp(`blobs/${image.layers[0]}`);
    proxy.failAt(at, atFirst(1, fault));
    const exchange = await workplace();
    const pulled = await registryAt(proxy.host).pull(wanted(image.manifests[0]), exchange);
    expect(await exchange.store.audit(pulled.index)).toEqual([]);

    proxy.failAt(at, fault);
    expect((await problemOfPulling(wanted(image.manifests[0]), image.layers[0])).problem).toBe(expected);
    const tries = proxy.asked.filter((path) => at.test(path)).length;
    expect(tries).toBeGreaterThan(2);
    expect(tries).toBeLessThan(10);
  });

  test("a layer that never ends is cut where its descriptor says", async () => {
    let sent = 0;
    proxy.failAt(new RegExp(`blobs/${image.layers[0]}`), (_request, response) => {
      response.writeHead(200, { "content-type": "application/octet-stream" });
      const more = (): void => {
        if (response.destroyed || sent > 256 * 2 ** 20) return void response.destroy();
        sent += 2 ** 20;
        response.write(Buffer.alloc(2 ** 20), more);
      };
      more();
    });
    const { problem } = await problemOfPulling(wanted(image.manifests[0]), image.layers[0]);
    expect(problem).toBe("wrong-bytes");
    expect(sent).toBeLessThan(64 * 2 ** 20);
  });

  test("reports an address without a server as unreachable", async () => {
    const exchange = await workplace();
    const pulling = registryAt("127.0.0.1:1").pull(wanted(image.manifests[0]), exchange);
    await expect(pulling).rejects.toMatchObject({ problem: "unreachable" });
  });

  test("an image for another platform than the asked is refused", async () => {
    const exchange = await workplace();
    const asked = { ...wanted(image.manifests[0]), platform: "linux/arm64" };
    const pulling = registryAt(server.host).pull(asked, exchange);
    await expect(pulling).rejects.toThrow("has it for linux/arm64, but its config is for linux/amd64");
  });

  test("an image that is none of StageX's kind is refused, though its digests are right", async () => {
    const config = digestOf("{}");
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: { mediaType: "application/vnd.example+json", digest: config, size: 2 },
      layers: [],
    });
    proxy.failAt(/manifests\//, answer(200, manifest, "application/vnd.oci.image.manifest.v1+json"));
    const exchange = await workplace();
    const pulling = registryAt(proxy.host).pull(wanted(digestOf(manifest)), exchange);
    await expect(pulling).rejects.toThrow(LayoutError);
    expect(await exchange.store.find(digestOf(manifest))).toBeNull();
  });

  test("SIGKILL at any moment leaves an image that is whole or absent", async () => {
    const manifest = image.manifests[0] ?? digestOf("");
    const pullInto = (root: string, killAfter: number | null) => {
      const args = [
        realTool("registry-client"),
        `${server.host}/stagex`,
        "core-one",
        manifest,
        root,
        `${root}-scratch`,
      ];
      return runKillable("./pull-image.ts", args, killAfter);
    };
    const trial = await pullInto(join(home, "trial"), null);
    expect(trial.code).toBe(0);
    let killed = 0;
    for (let round = 0; killed < 20; round += 1) {
      expect(round).toBeLessThan(60);
      const root = join(home, `killed-${round}`);
      const { signal } = await pullInto(root, (trial.worked * (round % 20)) / 20);
      if (signal === "SIGKILL") killed += 1;
      const store = await Store.open(root);
      const found = await store.find(manifest);
      if (found !== null) expect(await store.audit(found.index)).toEqual([]);
      if (round % 5 > 0) continue;
      expect((await pullInto(root, null)).code).toBe(0);
      const pulled = await store.find(manifest);
      expect(pulled === null ? null : await store.audit(pulled.index)).toEqual([]);
    }
  });

  describe("where one has to log in", () => {
    const basic = `Basic ${Buffer.from("alice:open sesame").toString("base64")}`;
    const logIn: Fault = (request, response, pass) => {
      if (request.headers.authorization === basic) return pass();
      response.writeHead(401, { "www-authenticate": 'Basic realm="test"' });
      response.end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
    };
    let before: { DOCKER_CONFIG: string | undefined; PATH: string | undefined };

    beforeEach(() => {
      const { DOCKER_CONFIG, PATH } = process.env;
      before = { DOCKER_CONFIG, PATH };
      proxy.failAt(/./, logIn);
    });

    afterEach(() => {
      process.env.PATH = before.PATH;
      process.env.DOCKER_CONFIG = before.DOCKER_CONFIG;
      if (before.DOCKER_CONFIG === undefined) delete process.env.DOCKER_CONFIG;
      proxy.failAt(/never/, answer(500));
    });

    async function configure(settings: object): Promise<string> {
      const { folder } = await workplace();
      await writeFile(join(folder, "config.json"), JSON.stringify(settings));
      process.env.DOCKER_CONFIG = folder;
      return folder;
    }

    test("the docker config's credentials are used", async () => {
      const auth = Buffer.from("alice:open sesame").toString("base64");
      await configure({ auths: { [proxy.host]: { auth } } });
      const exchange = await workplace();
      const pulled = await registryAt(proxy.host).pull(wanted(image.manifests[0]), exchange);
      expect(await exchange.store.audit(pulled.index)).toEqual([]);
    });

    test("a credential helper is asked", async () => {
      const folder = await configure({ credHelpers: { [proxy.host]: "test" } });
      const said = JSON.stringify({ ServerURL: proxy.host, Username: "alice", Secret: "open sesame" });
      const helper = join(folder, "docker-credential-test");
      await writeFile(helper, `#!/bin/sh\necho '${said}'\n`, { mode: 0o755 });
      process.env.PATH = `${folder}:${process.env.PATH}`;
      const exchange = await workplace();
      const pulled = await registryAt(proxy.host).pull(wanted(image.manifests[0]), exchange);
      expect(await exchange.store.audit(pulled.index)).toEqual([]);
    });

    test("wrong credentials are refused with a hint, and never printed", async () => {
      const auth = Buffer.from("alice:wrong word").toString("base64");
      await configure({ auths: { [proxy.host]: { auth } } });
      const { problem, message } = await problemOfPulling(wanted(image.manifests[0]));
      expect(problem).toBe("refused");
      expect(message).toContain("docker login");
      expect(message).not.toMatch(/wrong word|alice/);
      expect(message).not.toContain(auth);
    });
  });

  test("stops at once when it is cancelled", async () => {
    proxy.failAt(/blobs\//, () => {});
    const exchange = await workplace();
    const started = performance.now();
    const pulling = registryAt(proxy.host).pull(wanted(image.manifests[0]), {
      ...exchange,
      signal: AbortSignal.timeout(500),
    });
    await expect(pulling).rejects.toThrow("timeout");
    expect(performance.now() - started).toBeLessThan(5_000);
    expect(await readdir(exchange.scratch)).toEqual([]);
  });
});
