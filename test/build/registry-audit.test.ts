import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { digestOf } from "../../oci/digest.ts";
import { Registry, type TransferOptions } from "../../oci/registry/registry.ts";
import { parseRegistryAddress } from "../../oci/registry/registry-address.ts";
import { Store } from "../../oci/store/store.ts";
import { type WrittenLayout, writeLayout } from "../support/builders/image-layout.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { answer, atFirst, FaultyRegistry } from "../support/servers/faulty-registry.ts";
import { RegistryServer } from "../support/servers/registry-server.ts";

describeReal("what was pushed is looked for, and put back", () => {
  let home: string;
  let server: RegistryServer;
  let proxy: FaultyRegistry;
  let exchange: TransferOptions;
  let image: WrittenLayout;
  let name: string;
  let registry: Registry;

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), "stagex-test-"));
    server = await RegistryServer.start();
    proxy = await FaultyRegistry.before(server.host);
    registry = new Registry(parseRegistryAddress(`${proxy.host}/stagex`), realTool("registry-client"));
  });

  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await rm(home, { recursive: true, force: true });
  });

  beforeEach(async ({ task }) => {
    const folder = await mkdtemp(join(home, "place-"));
    await mkdir(join(folder, "scratch"));
    exchange = { scratch: join(folder, "scratch"), store: await Store.open(join(folder, "store")) };
    name = `core-${digestOf(task.name).slice(7, 19)}`;
    const layers = (arch: string) => [[{ name, content: task.name }], [{ name: "arch", content: arch }]];
    const platforms = {
      "linux/amd64": { layers: layers("x86") },
      "linux/arm64": { layers: layers("arm") },
    };
    image = await writeLayout(join(folder, "layout"), { platforms });
    await exchange.store.adopt(image.folder);
  });

  afterEach(() => proxy.failAt(/never/, answer(500)));

  const manifest = () => image.manifests[0] ?? image.index;
  const messages = async (digest = image.index) =>
    (await registry.audit(name, digest)).map(({ problem, digest: culprit }) => `${problem} ${culprit}`);

  test("a manifest is pushed alone, without its index and its neighbours", async () => {
    await registry.push(name, manifest(), exchange);
    expect(await messages(manifest())).toEqual([]);
    expect(await server.digestOf(`stagex/${name}`, image.index)).toBeNull();
    expect(await server.digestOf(`stagex/${name}`, image.manifests[1] ?? "")).toBeNull();
    expect(await server.tagsOf(`stagex/${name}`)).toEqual([]);
    expect(await readdir(exchange.scratch)).toEqual([]);
  });

  test("what was never pushed is missing, and what was is whole", async () => {
    expect(await messages()).toEqual([`missing ${image.index}`]);
    await registry.push(name, image.index, exchange);
    expect(await messages()).toEqual([]);
    expect(await messages(manifest())).toEqual([]);
  });

  test("what is there is not sent again", async () => {
    await registry.push(name, image.index, exchange);
    proxy.failAt(/never/, answer(500));
    await registry.push(name, image.index, exchange);
    expect(proxy.asked.filter((line) => /^(POST|PUT|PATCH)/.test(line))).toEqual([]);
  });

  test("a layer, a config and a manifest that got lost are found missing, and pushed again", async () => {
    await registry.push(name, image.index, exchange);
    for (const lost of [image.layers[3], image.configs[0]]) {
      await server.lose(`stagex/${name}`, lost ?? "");
      expect(await messages()).toEqual([`missing ${lost}`]);
      await registry.push(name, image.index, exchange);
      expect(await messages()).toEqual([]);
    }
    await server.forget(`stagex/${name}`, manifest());
    expect(await messages()).toEqual([`missing ${manifest()}`]);
    expect(await server.tagsOf(`stagex/${name}`)).toEqual([]);
  });

  test("a blob of another length is told by its numbers", async () => {
    await registry.push(name, image.index, exchange);
    proxy.failAt(new RegExp(`HEAD .*${image.layers[0]}`), (_request, response) => {
      response.writeHead(200, { "content-length": 7, "content-type": "application/octet-stream" });
      response.end();
    });
    const [damage, ...others] = await registry.audit(name, image.index);
    expect(damage).toMatchObject({ problem: "wrong-size", digest: image.layers[0] });
    expect(damage?.message).toMatch(/with 7 bytes instead of \d+$/);
    expect(others).toEqual([]);
  });

  test("a web page is no manifest, whatever it is asked for", async () => {
    await registry.push(name, image.index, exchange);
    await registry.tag(name, image.index, "1.0");
    proxy.failAt(/manifests|blobs/, answer(200, "<html>log in</html>", "text/html"));
    await expect(registry.resolveTag(name, "1.0")).rejects.toMatchObject({ problem: "not-a-registry" });
    await expect(registry.push(name, image.index, exchange)).rejects.toMatchObject({
      problem: "not-a-registry",
    });
    await expect(registry.audit(name, image.index)).rejects.toMatchObject({ problem: "not-a-registry" });
  });

  test("a tag is read by its bytes, and removed without what it points at", async () => {
    await registry.push(name, image.index, exchange);
    expect(await registry.resolveTag(name, "1.0")).toBeNull();
    await registry.tag(name, image.index, "1.0");
    expect(await registry.resolveTag(name, "1.0")).toBe(image.index);
    await registry.untag(name, "1.0");
    await registry.untag(name, "1.0");
    expect(await registry.resolveTag(name, "1.0")).toBeNull();
    expect(await messages()).toEqual([]);
  });

  test("a registry that fails for longer than the client waits is waited for, but only as long as one was told to", async () => {
    const fault = atFirst(7, answer(503, "restarting"));
    proxy.failAt(/PUT .*manifests/, fault);
    const waits: string[] = [];
    await registry.push(name, manifest(), {
      ...exchange,
      retryFor: 60_000,
      onRetry: (line) => waits.push(line),
    });
    expect(await messages(manifest())).toEqual([]);
    expect(waits.length).toBeGreaterThan(0);
    expect(waits[0]).toMatch(/server-error: .*; trying again in \d+ s$/);

    proxy.failAt(/GET .*manifests/, answer(503, "restarting"));
    const began = performance.now();
    const reading = registry.resolveTag(name, "1.0", undefined, { retryFor: 3_000 });
    await expect(reading).rejects.toMatchObject({ problem: "server-error" });
    expect(performance.now() - began).toBeLessThan(40_000);
  });

  test("Retry-After is kept to; one that asks for more than there is ends the try at once, and says so", async () => {
    const busy = (seconds: number) =>
      atFirst(3, (_request, response) => {
        response.writeHead(429, { "retry-after": String(seconds), "content-type": "application/json" });
        response.end('{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}');
      });
    await registry.push(name, image.index, exchange);
    await registry.tag(name, image.index, "1.0");
    proxy.failAt(/GET .*manifests/, busy(6));
    const began = performance.now();
    expect(await registry.resolveTag(name, "1.0", undefined, { retryFor: 60_000 })).toBe(image.index);
    // The client's own retries take 4 s, and then it is left alone for 6.
    expect(performance.now() - began).toBeGreaterThan(9_000);
    proxy.failAt(/GET .*manifests/, busy(3600));
    const reading = registry.resolveTag(name, "1.0", undefined, { retryFor: 60_000 });
    await expect(reading).rejects.toMatchObject({ problem: "overloaded", retryAfter: 3600 });
    await expect(reading).rejects.toThrow("it asks to wait 3600 s");
  });

  test("a registry that dies in the middle of an upload is waited for, and has all when it is back", async () => {
    let uploads = 0;
    proxy.failAt(/PATCH .*uploads/, (request, response, pass) => {
      uploads += 1;
      if (uploads !== 2) return pass();
      void server.kill().then(async () => {
        request.socket.destroy();
        await new Promise((resolve) => setTimeout(resolve, 6_000));
        await server.restart();
      });
      response.on("error", () => {});
    });
    await registry.push(name, image.index, { ...exchange, retryFor: 60_000 });
    expect(await messages()).toEqual([]);
    expect(uploads).toBeGreaterThan(2);
  });
});
