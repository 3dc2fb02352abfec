import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Project } from "../support/builders/project.ts";
import { describeReal } from "../support/real-tools.ts";
import { FaultyRegistry, hangUp } from "../support/servers/faulty-registry.ts";
import { RegistryServer } from "../support/servers/registry-server.ts";
import { TlsDaemon } from "../support/servers/tls-daemon.ts";

describeReal("a fleet with an exchange", () => {
  let project: Project;
  let server: RegistryServer;
  let proxy: FaultyRegistry;
  let machine: TlsDaemon;

  beforeAll(async () => {
    [server, machine, project] = [
      await RegistryServer.start(),
      await TlsDaemon.start(),
      await Project.create(),
    ];
    proxy = await FaultyRegistry.before(server.host);
  });

  afterAll(async () => {
    await project?.[Symbol.asyncDispose]();
    await machine?.[Symbol.asyncDispose]();
    await proxy?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  /** Adds `user-<name>` to the tree. */
  async function add(name: string, containerfile: string, content?: Buffer): Promise<void> {
    const folder = join(project.tree, "packages/user", name);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "Containerfile"), containerfile);
    if (content) await writeFile(join(folder, "content"), content);
    const about = 'license = "CC0-1.0"\nwebsite = "https://seed-tree.example"\n';
    await writeFile(
      join(folder, "package.toml"),
      `[package]\nname = "${name}"\nversion = "1.0.0"\ndescription = "For the exchange"\n${about}`,
    );
  }

  const copying = (...images: string[]) =>
    `FROM scratch AS package\n${images.map((image, index) => `COPY --from=stagex/${image} . /${index}/\n`).join("")}`;

  async function useMachine(): Promise<void> {
    const folder = join(project.folder, "credentials");
    await mkdir(folder);
    const { ca, cert, key } = await machine.client();
    for (const [kind, path] of Object.entries({ ca, cert, key }))
      await writeFile(join(folder, `${kind}.pem`), await readFile(path));
    const tls = Object.fromEntries(["ca", "cert", "key"].map((kind) => [kind, `credentials/${kind}.pem`]));
    await project.set("builders", JSON.stringify([{ name: "west", address: machine.address, tls }]));
  }

  test("what another builder has built is pulled by digest, after some was sent", async () => {
    for (const name of ["one", "two"])
      await add(name, "FROM scratch AS package\nCOPY content /\n", randomBytes(20 * 2 ** 20));
    await project.commit("Two that are large");
    await project.set("images", '["user-one","user-two"]');
    const before = await project.up();
    expect(before.code, before.output).toBe(0);

    await add("first", copying("user-one"));
    await add("second", copying("user-first", "user-two"));
    await project.commit("Two that are built from them");
    await project.set("images", '["user-second"]');
    await project.set("fleetRegistry", `${proxy.host}/fleet`);
    await useMachine();
    const { code, output, built } = await project.up();
    expect(code, output).toBe(0);
    expect(output).not.toContain("warning");
    expect(built).toEqual(["user-first", "user-second"]);
    const digests = await project.digests();
    for (const image of ["user-one", "user-two"])
      expect(await server.missingBehind(`fleet/${image}`, digests[image] ?? "")).toEqual([]);
    // The first was sent, as nothing was known yet; the second was pulled.
    const pulls = async (image: string) => {
      const layer = await layerOf(image, digests[image] ?? "");
      return proxy.asked.filter((line) => line === `GET /v2/fleet/${image}/blobs/${layer}`).length;
    };
    expect([await pulls("user-one"), await pulls("user-two")]).toEqual([0, 1]);
  });

  test("that is down fails no image", async () => {
    proxy.failAt(/./, hangUp);
    await add("third", copying("user-first", "user-two"));
    await project.commit("Another one");
    await project.set("images", '["user-second","user-third"]');
    const { code, output, built } = await project.up();
    expect(code, output).toBe(0);
    expect(built).toEqual(["user-third"]);
    expect(proxy.asked.length).toBeGreaterThan(0);
  });

  /** The one layer of an image at the registry. */
  async function layerOf(image: string, digest: string): Promise<string> {
    const accept = "application/vnd.oci.image.manifest.v1+json";
    const url = `http://${server.host}/v2/fleet/${image}/manifests/${digest}`;
    const { layers } = (await (await fetch(url, { headers: { accept } })).json()) as {
      layers: { digest: string }[];
    };
    expect(layers).toHaveLength(1);
    return layers[0]?.digest ?? "";
  }
});
