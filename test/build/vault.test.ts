import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type VaultConfig, vaultPlaces } from "../../config/vault.ts";
import { openVault } from "../../pipeline/context/open-vault.ts";
import type { SourceProgress } from "../../sources/download/source-error.ts";
import { type PushReport, pushToVault } from "../../sources/push-to-vault.ts";
import { SourceCache, type SourceCacheOptions } from "../../sources/source-cache.ts";
import { vaultPath } from "../../sources/vault/folder-vault.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { endless, hostileRegistry } from "../support/servers/hostile-registry.ts";
import { type Answer, mirrorAuthority, startMirror } from "../support/servers/https-mirror.ts";
import { RegistryServer } from "../support/servers/registry-server.ts";

/** A mirror without a server. */
const gone = "https://127.0.0.1:9/gone.tar";

type Made = { readonly name: string; readonly content: Buffer; readonly sha256: string };

function made(name: string, content = randomBytes(3_000_000)): Made {
  return { name, content, sha256: createHash("sha256").update(content).digest("hex") };
}

function sourceOf({ name, sha256 }: Made, mirrors = [gone]) {
  return { name, file: `${name}.tar`, sha256, mirrors };
}

/** A new cache whose vault is configured as `stagex:vault` is. */
async function cacheWith(vault: readonly object[], options: SourceCacheOptions = {}): Promise<SourceCache> {
  const sources = await scratchFolder();
  const config: VaultConfig = vaultPlaces.parse(vault);
  const client = async (): Promise<string> => realTool("registry-client");
  const paths = openVault(config, { paths: { project: "/", sources }, client });
  return await SourceCache.open(sources, {
    ca: mirrorAuthority,
    attempts: 2,
    backoff: 10,
    idleTimeout: 500,
    vault: paths,
    ...options,
  });
}

/** Lays sources into a cache. */
async function withSources(cache: SourceCache, ...sources: readonly Made[]): Promise<SourceCache> {
  for (const { sha256, content } of sources) await writeFile(cache.pathOf(sha256), content);
  return cache;
}

async function push(cache: SourceCache, sources: readonly Made[]): Promise<PushReport[]> {
  return await pushToVault(sources, { cache, signal: new AbortController().signal });
}

const statuses = (reports: readonly PushReport[]) => reports.map(({ status }) => [...status.values()]);

/** Serves the files of a folder, as a vault's server does. */
function servingFolder(folder: string): Answer {
  return ({ url = "" }, response) =>
    void readFile(join(folder, url)).then(
      (bytes) => response.end(bytes),
      () => response.writeHead(404).end(),
    );
}

/** What was told while a source was obtained: where it was asked for, and what failed there. */
async function told(cache: SourceCache, wanted: Made, mirrors = [gone]): Promise<string[]> {
  const lines: string[] = [];
  const onProgress = (progress: SourceProgress): void => {
    if (progress.kind === "failed")
      lines.push(`${progress.isNews ? "news " : ""}${progress.from}: ${progress.reason}`);
  };
  const path = await cache.obtain(sourceOf(wanted, mirrors), { onProgress });
  expect((await readFile(path)).equals(wanted.content)).toBe(true);
  return lines;
}

describeReal("a vault", () => {
  let registry: RegistryServer;
  beforeAll(async () => {
    registry = await RegistryServer.start();
  });
  afterAll(() => registry[Symbol.asyncDispose]());
  const repository = (name: string) => `${registry.host}/${name}`;

  test("serves what was pushed from a folder, a registry and a server, without mirrors", async () => {
    const folder = await scratchFolder();
    const both = [{ folder }, { registry: repository("both") }];
    const [one, two] = [made("one"), made("two", Buffer.from("small"))];
    const cache = await withSources(await cacheWith(both), one, two);
    expect(statuses(await push(cache, [one, two]))).toEqual([
      ["pushed", "pushed"],
      ["pushed", "pushed"],
    ]);
    expect((await stat(join(folder, vaultPath(one.sha256)))).mode & 0o222).toBe(0);
    expect(statuses(await push(cache, [one, two]))).toEqual([
      ["there", "there"],
      ["there", "there"],
    ]);
    const server = await startMirror(servingFolder(folder));
    for (const place of [...both, { url: server.url }]) {
      const other = await cacheWith([place]);
      for (const wanted of [one, two]) expect(await told(other, wanted)).toEqual([]);
    }
  });

  test("continues a push where an earlier one ended, and sends again what a registry has lost", async () => {
    const sources = [made("one"), made("two"), made("three"), made("four"), made("five"), made("six")];
    const cache = await withSources(await cacheWith([{ registry: repository("lost") }]), ...sources);
    const [first] = sources;
    const interrupted = new AbortController();
    const pushing = pushToVault(sources, {
      cache,
      signal: interrupted.signal,
      onPushed: () => interrupted.abort(new Error("enough")),
    });
    await expect(pushing).rejects.toThrow("enough");
    const [[...second] = []] = statuses(await push(cache, sources));
    expect(second).toContain("there");
    expect(second).toContain("pushed");
    await registry.lose("lost", `sha256:${first?.sha256}`);
    const [third] = statuses(await push(cache, sources));
    expect(third).toEqual(["pushed", "there", "there", "there", "there", "there"]);
    const other = await cacheWith([{ registry: repository("lost") }]);
    for (const wanted of sources) expect(await told(other, wanted)).toEqual([]);
  });

  test("reports missing sources, and fails for a missing folder alone", async () => {
    const one = made("one");
    const paths = [{ folder: "/nowhere/at/all" }, { folder: await scratchFolder() }];
    const cache = await withSources(await cacheWith(paths), one);
    const reports = await push(cache, [one, made("absent")]);
    expect(statuses(reports)).toEqual([
      ["failed", "absent"],
      ["pushed", "absent"],
    ]);
    expect(reports[0]?.failures).toEqual(["/nowhere/at/all: there is no such folder"]);
  });

  test("never receives a source that has changed in the cache", async () => {
    const one = made("one");
    const cache = await cacheWith([{ folder: await scratchFolder() }, { registry: repository("changed") }]);
    await writeFile(cache.pathOf(one.sha256), "other bytes");
    const reports = await push(cache, [one]);
    expect(statuses(reports)).toEqual([["failed"], ["failed"]]);
    expect(reports[0]?.failures[0]).toMatch(/has sha256 [0-9a-f]{64} by now/);
    expect(await readdir(join(reports[0]?.place ?? "", "partial"))).toEqual([]);
  });

  test("refuses and reports an altered byte, and the next place is asked", async () => {
    const folder = await scratchFolder();
    const one = made("one");
    const cache = await withSources(await cacheWith([{ folder }, { registry: repository("whole") }]), one);
    await push(cache, [one]);
    const path = join(folder, vaultPath(one.sha256));
    await chmod(path, 0o644);
    await writeFile(path, Buffer.concat([one.content.subarray(1), Buffer.from("x")]));
    const server = await startMirror(servingFolder(folder));
    const other = await cacheWith([{ folder }, { url: server.url }, { registry: repository("whole") }]);
    const lines = await told(other, one);
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(/^news file:.*wrong content/);
    expect(lines[1]).toMatch(/^news https:.*wrong content/);
  });

  test("refuses a registry's blob with other bytes than its digest", async () => {
    const one = made("one");
    const lying = await hostileRegistry(({ method }, response) => {
      response.setHeader("content-length", one.content.length);
      response.end(method === "HEAD" ? undefined : randomBytes(one.content.length));
    });
    const mirror = await startMirror((_, response) => void response.end(one.content));
    const lines = await told(await cacheWith([{ registry: `${lying}/s/r` }]), one, [mirror.url]);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^news oci:.*wrong-bytes/);
  });

  test("costs bounded time and bytes if it streams without end, is silent or down", async () => {
    const [one, two] = [made("one"), made("two")];
    const stream = endless();
    const streaming = await startMirror(stream.listener);
    const streamingRegistry = await hostileRegistry((request, response) =>
      // It does not tell the size beforehand.
      request.method === "HEAD" ? response.end() : stream.listener(request, response),
    );
    const silent = await startMirror(() => undefined);
    const mirror = await startMirror(
      ({ url }, response) => void response.end(url === "/one" ? one.content : two.content),
    );
    const paths = [
      { url: streaming.url },
      { registry: `${streamingRegistry}/s/r` },
      { url: silent.url },
      { registry: "127.0.0.1:9/s/r" },
      { folder: "/nowhere/at/all" },
    ];
    const cache = await cacheWith(paths, { sizeLimit: 10_000_000 });
    const begun = performance.now();
    const lines = await told(cache, one, [`${mirror.url}/one`]);
    expect(lines).toHaveLength(paths.length);
    expect(lines.filter((line) => line.startsWith("news "))).toHaveLength(paths.length);
    expect(lines[0]).toMatch(/over the limit/);
    expect(lines[2]).toMatch(/idle or too slow/);
    const later = performance.now();
    const again = await told(cache, two, [`${mirror.url}/two`]);
    expect(again.filter((line) => /not asked again in this run/.test(line))).toHaveLength(2);
    expect(later - begun).toBeLessThan(30_000);
    expect(performance.now() - later).toBeLessThan(10_000);
    expect(stream.sent()).toBeLessThan(400_000_000);
  });

  test("is asked before or after the mirrors, as configured", async () => {
    const one = made("one");
    const asked: string[] = [];
    const server = (name: string) =>
      startMirror((_, response) => {
        asked.push(name);
        response.writeHead(404).end();
      });
    const [before, mirror, after] = [await server("before"), await server("mirror"), await server("after")];
    const folder = await scratchFolder();
    const cache = await cacheWith([
      { url: after.url, asked: "after" },
      { url: before.url },
      { folder, asked: "after" },
    ]);
    await mkdir(join(folder, vaultPath(one.sha256), ".."), { recursive: true });
    await writeFile(join(folder, vaultPath(one.sha256)), one.content);
    const lines = await told(cache, one, [mirror.url]);
    expect(asked).toEqual(["before", "mirror", "after"]);
    // That a place of the vault does not have it is no failure.
    expect(lines).toEqual([`${mirror.url}/: 404 Not Found`]);
    await rm(folder, { recursive: true });
  });
});
