import { randomBytes } from "node:crypto";
import { join } from "node:path";
import pLimit from "p-limit";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Endpoint } from "../../buildkit/client/endpoint.ts";
import { Registry } from "../../oci/registry/registry.ts";
import { parseRegistryAddress } from "../../oci/registry/registry-address.ts";
import { Store } from "../../oci/store/store.ts";
import { type Dependency, FleetRegistry } from "../../pipeline/fleet/fleet-registry.ts";
import { BuildWorkspace, buildctl } from "../support/builders/build-workspace.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { FaultyRegistry, hangUp } from "../support/servers/faulty-registry.ts";
import { RegistryServer } from "../support/servers/registry-server.ts";
import { TlsDaemon } from "../support/servers/tls-daemon.ts";

const mebibytes = 20;

describeReal("a fleet registry", () => {
  let bench: BuildWorkspace;
  let own: Endpoint;
  let machine: TlsDaemon;
  let server: RegistryServer;
  let proxy: FaultyRegistry;
  let store: Store;
  const big: Dependency[] = [];

  beforeAll(async () => {
    bench = await BuildWorkspace.open();
    [server, machine] = [await RegistryServer.start(), await TlsDaemon.start()];
    proxy = await FaultyRegistry.before(server.host);
    store = await Store.open(bench.store);
    own = (await bench.daemon()).endpoint;
    for (const name of ["core-one", "core-two", "core-three"]) {
      const built = await bench.build(own, {
        containerfile: "FROM scratch\nCOPY file /file\n",
        files: { file: randomBytes(mebibytes * 2 ** 20) },
      });
      const { manifests } = await store.adopt(built.layout);
      const [manifest] = manifests;
      if (!manifest) throw new Error("an image without manifest");
      const bytes = manifest.layers.reduce((sum, { size }) => sum + size, 0);
      big.push({ name, digest: manifest.digest, bytes });
    }
  });

  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
    await machine?.[Symbol.asyncDispose]();
    await bench?.close();
  });

  const west = async () => ({
    name: "west",
    endpoint: { address: machine.address, buildctl: buildctl(), tls: await machine.client() },
  });

  function exchangeAt(host: string) {
    const address = parseRegistryAddress(`${host}/fleet`);
    const warnings: string[] = [];
    const work = {
      signal: new AbortController().signal,
      progress: () => {},
      report: (_severity: string, message: string) => void warnings.push(message),
    };
    const exchange = new FleetRegistry({
      address,
      registry: async () => new Registry(address, realTool("registry-client")),
      ...{ store, scratch: join(bench.folder, "pushes"), limit: pLimit(4), cancelled: work.signal },
    });
    /** Builds an image from one of the big ones, by the route that the exchange says. */
    const build = async (builder: { name: string; endpoint: Endpoint }, dependency: Dependency) => {
      const repositories = await exchange.repositoriesFor(builder, [dependency], work);
      const built = await bench.build(builder.endpoint, {
        containerfile: `FROM scratch\nCOPY --from=stagex/${dependency.name} /file /copied\n`,
        dependencies: { [dependency.name]: dependency.digest },
        repositories,
      });
      exchange.noteTransfers(builder, "user-image", [dependency], built, work);
      return { repositories, transfers: built.transfers, index: built.index };
    };
    return { exchange, warnings, work, build };
  }

  test("tries the registry after what was sent, and then takes what was cheaper; the digests are the same", async () => {
    const { exchange, build, warnings, work } = exchangeAt(proxy.host);
    const [one, two, three] = big as [Dependency, Dependency, Dependency];
    const builder = await west();
    const sent = await build(builder, one);
    expect(sent.repositories).toEqual({});
    expect(sent.transfers.store.bytes).toBe(one.bytes);
    await exchange.waitForPushes();
    expect(await server.missingBehind("fleet/core-one", one.digest)).toEqual([]);

    exchange.startPush(two.name, two.digest, work);
    const pulled = await build(builder, two);
    expect(pulled.repositories).toEqual({ "core-two": `${proxy.host}/fleet/core-two` });
    expect(pulled.transfers.registry.bytes).toBe(two.bytes);
    expect(pulled.transfers.store).toEqual({ bytes: 0, seconds: 0 });

    const [bySending, byPulling] = [sent.transfers.store, pulled.transfers.registry].map(
      ({ bytes, seconds }) => seconds / bytes,
    ) as [number, number];
    const { repositories } = await build(builder, three);
    expect(Object.keys(repositories)).toEqual(byPulling < bySending ? ["core-three"] : []);
    expect((await build({ name: "own", endpoint: own }, two)).index).toBe(pulled.index);
    expect(warnings).toEqual([]);
  });

  test("sends everything to a builder of this machine", async () => {
    const { exchange, build, work } = exchangeAt(proxy.host);
    for (const dependency of big) {
      exchange.startPush(dependency.name, dependency.digest, work);
      await exchange.waitForPushes();
      expect((await build({ name: "own", endpoint: own }, dependency)).repositories).toEqual({});
    }
  });

  test("causes one warning if pushes fail, and everything is sent", async () => {
    const { exchange, build, warnings, work } = exchangeAt("127.0.0.1:9");
    const builder = await west();
    exchange.noteTransfers(builder, "user-image", [], measured(1), work);
    for (const dependency of big) {
      expect((await build(builder, dependency)).repositories).toEqual({});
      await exchange.waitForPushes();
    }
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/^core-one is not at the exchange 127\.0\.0\.1:9\/fleet: .*refuse/);
  });

  test("causes a warning if it goes away, is asked later, and filled again", async () => {
    const { exchange, build, warnings, work } = exchangeAt(proxy.host);
    const [one] = big as [Dependency];
    // A machine that has nothing yet.
    await using fresh = await TlsDaemon.start();
    const builder = {
      name: "fresh",
      endpoint: { address: fresh.address, buildctl: buildctl(), tls: await fresh.client() },
    };
    exchange.noteTransfers(builder, "user-image", [], measured(1000), work);
    exchange.startPush(one.name, one.digest, work);
    await exchange.waitForPushes();
    proxy.failAt(/./, hangUp);
    const first = await build(builder, one);
    expect(Object.keys(first.repositories)).toEqual(["core-one"]);
    expect(first.transfers.store.bytes).toBe(one.bytes);
    expect(warnings).toEqual([
      expect.stringMatching(/^user-image: fresh was sent what it could not pull from /),
    ]);
    proxy.failAt(/^$/, hangUp);
    await server.forget("fleet/core-one", one.digest);
    expect((await build(builder, one)).repositories).toEqual({});
    await exchange.waitForPushes();
    expect(await server.missingBehind("fleet/core-one", one.digest)).toEqual([]);
    expect(warnings).toHaveLength(1);
  });

  /** A build that was sent so much in so many seconds. */
  function measured(seconds: number) {
    const none = { bytes: 0, seconds: 0 };
    return { transfers: { store: { bytes: 2 ** 30, seconds }, registry: none }, unpulled: undefined };
  }
});
