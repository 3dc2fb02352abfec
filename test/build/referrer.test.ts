import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { mediaTypes } from "../../oci/descriptor.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { type Artifact, pushReferrer, referrerOf } from "../../oci/registry/referrer.ts";
import { Registry } from "../../oci/registry/registry.ts";
import { parseRegistryAddress } from "../../oci/registry/registry-address.ts";
import { RegistryClient } from "../../oci/registry/registry-client.ts";
import { Store } from "../../oci/store/store.ts";
import { writeLayout } from "../support/builders/image-layout.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { answer, atFirst, FaultyRegistry } from "../support/servers/faulty-registry.ts";
import { RegistryServer } from "../support/servers/registry-server.ts";

describeReal("artifacts lie beside their images in a real registry", () => {
  let home = "";
  let server: RegistryServer;
  let proxy: FaultyRegistry;
  let image: Digest;

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), "stagex-referrer-"));
    await mkdir(join(home, "scratch"));
    server = await RegistryServer.start();
    proxy = await FaultyRegistry.before(server.host);
    const layers = [[{ name: "hello", content: "hello" }]];
    const layout = await writeLayout(join(home, "layout"), { platforms: { "linux/amd64": { layers } } });
    const store = await Store.open(join(home, "store"));
    await store.adopt(layout.folder);
    const registry = new Registry(parseRegistryAddress(`${server.host}/stagex`), realTool("registry-client"));
    await registry.push("core-one", layout.index, { store, scratch: join(home, "scratch") });
    image = layout.manifests[0] ?? expect.fail();
  });

  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await rm(home, { recursive: true, force: true });
  });

  const said = async (words: string): Promise<Artifact> => {
    const found = await fetch(`http://${server.host}/v2/stagex/core-one/manifests/${image}`, {
      headers: { accept: mediaTypes.manifest },
    });
    const size = (await found.arrayBuffer()).byteLength;
    return {
      subject: { mediaType: mediaTypes.manifest, digest: image, size },
      artifactType: "application/vnd.in-toto+json",
      layers: [
        {
          mediaType: "application/vnd.in-toto+json",
          bytes: Buffer.from(JSON.stringify({ words })),
          annotations: { "in-toto.io/predicate-type": "https://words.example/v1" },
        },
      ],
    };
  };
  const push = (artifact: Artifact, host = server.host) =>
    pushReferrer(parseRegistryAddress(`${host}/stagex/core-one`), referrerOf(artifact), {
      client: new RegistryClient(realTool("registry-client")),
      scratch: join(home, "scratch"),
    });
  /** As clients ask: the referrers API, and where there is none, the tag that stands for it. */
  async function referrers(): Promise<{ digest: string; artifactType?: string; size: number }[]> {
    const api = await fetch(`http://${server.host}/v2/stagex/core-one/referrers/${image}`);
    const tag = `http://${server.host}/v2/stagex/core-one/manifests/${image.replace(":", "-")}`;
    const listed = api.ok ? api : await fetch(tag, { headers: { accept: mediaTypes.index } });
    if (!listed.ok) return [];
    const { manifests } = (await listed.json()) as { manifests: Awaited<ReturnType<typeof referrers>> };
    return manifests;
  }

  test("an artifact is listed beside its subject, once, and can be pulled", async () => {
    expect(await referrers()).toEqual([]);
    const digest = await push(await said("built here"));
    await push(await said("built here"));
    expect(await referrers()).toMatchObject([{ digest, artifactType: "application/vnd.in-toto+json" }]);
    const content = Buffer.from(JSON.stringify({ words: "built here" }));
    const url = `http://${server.host}/v2/stagex/core-one/blobs/${digestOf(content)}`;
    expect(Buffer.from(await (await fetch(url)).arrayBuffer())).toEqual(content);
    expect(await server.digestOf("stagex/core-one", image)).toBe(image);
  });

  test("a second one joins the first", async () => {
    await push(await said("built here"));
    const before = (await referrers()).length;
    await push(await said("and there"));
    expect(await referrers()).toHaveLength(before + 1);
    expect(await readdir(join(home, "scratch"))).toEqual([]);
  });

  test("a registry that fails for a moment is asked again; one that says no is named", async () => {
    proxy.failAt(/PUT .*manifests/, atFirst(1, answer(503, "oops")));
    const digest = await push(await said("in the end"), proxy.host);
    expect((await referrers()).map((one) => one.digest)).toContain(digest);
    proxy.failAt(/PUT .*manifests/, answer(403, "read-only"));
    await expect(push(await said("never"), proxy.host)).rejects.toMatchObject({ problem: "refused" });
    expect(await readdir(join(home, "scratch"))).toEqual([]);
  });
});
