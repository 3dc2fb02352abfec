import { execFileSync } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PrivateKey } from "openpgp";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { VerifyResultJson } from "../../cli/verify/report.ts";
import { type Digest, hexOf } from "../../oci/digest.ts";
import { parseRepository } from "../../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../../trust/signatures/lookaside-folder.ts";
import { type LayoutRecipe, type WrittenLayout, writeLayout } from "../support/builders/image-layout.ts";
import { maintainersOf, newKey, payload, signedBy } from "../support/builders/maintainers.ts";
import { flipByte } from "../support/builders/project.ts";
import { type Ended, stagex } from "../support/programs/stagex-command.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { answer, FaultyRegistry } from "../support/servers/faulty-registry.ts";
import { RegistryServer } from "../support/servers/registry-server.ts";

describeReal("stagex verify, on a real registry", () => {
  let home = "";
  let server: RegistryServer;
  let proxy: FaultyRegistry;
  let lookaside: LookasideFolder;
  let people: Record<"alice" | "bob", PrivateKey>;
  const layouts: Record<string, WrittenLayout> = {};

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), "stagex-verify-"));
    server = await RegistryServer.start();
    proxy = await FaultyRegistry.before(server.host);
    people = { alice: await newKey("alice"), bob: await newKey("bob") };
    await writeFile(
      join(home, "MAINTAINERS"),
      maintainersOf({
        alice: { keys: [people.alice], brands: ["Intel"] },
        bob: { keys: [people.bob], brands: ["AMD"] },
      }),
    );
    await mkdir(join(home, "keys"));
    for (const [name, key] of Object.entries(people))
      await writeFile(join(home, `keys/${name}.asc`), key.toPublic().armor());
    lookaside = new LookasideFolder(join(home, "signatures"));
    await published("core-one", ["alice", "bob"], { "linux/amd64": "x86" });
    await published("core-half", ["alice"], { "linux/amd64": "half" });
    await published("core-two", ["alice", "bob"], { "linux/amd64": "two", "linux/arm64": "two, arm" });
  }, 60_000);

  afterEach(() => proxy.failAt(/never/, answer(500)));

  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await rm(home, { recursive: true, force: true });
  });

  /** An image in the registry, as version 1.0 and latest, signed for each of its platforms as StageX signs. */
  async function published(
    name: string,
    signers: readonly ("alice" | "bob")[],
    platforms: Record<string, string>,
    tag = "1.0",
    change: LayoutRecipe["change"] = {},
  ): Promise<WrittenLayout> {
    const layers = Object.entries(platforms).map(([platform, content]) => [
      platform,
      { layers: [[{ name: "hello", content }], [{ name: "motd", content: `${name} ${content}` }]] },
    ]);
    const layout = await writeLayout(join(home, "out", name), {
      platforms: Object.fromEntries(layers),
      change,
    });
    layouts[name] = layout;
    const single = layout.manifests.length === 1 ? layout.manifests[0] : layout.index;
    const repository = `${server.host}/stagex/${name}`;
    registryClient("push", layout.folder, `${repository}@${layout.index}`);
    for (const one of [tag, "latest", "sx2026.03.0"]) registryClient("tag", `${repository}@${single}`, one);
    for (const manifest of layout.manifests) {
      for (const signer of signers) {
        const said = payload({ reference: `stagex/${name}:${tag}`, manifest });
        await lookaside.write(
          parseRepository(`stagex/${name}`),
          manifest,
          await signedBy(people[signer], said),
        );
      }
    }
    return layout;
  }

  function registryClient(...args: string[]): void {
    execFileSync(realTool("registry-client"), args, { stdio: "pipe" });
  }

  const rule = (signatures = lookaside.folder) => [
    ...["--signatures", signatures, "--tree", home, "--signed-as", "stagex"],
  ];
  const at = (name: string, host = proxy.host) => `${host}/stagex/${name}`;
  const digestOf = (name: string): Digest => layouts[name]?.manifests[0] ?? expect.fail(name);
  const listed = ({ stdout }: Ended) => JSON.parse(stdout) as VerifyResultJson[];

  test("rejects an image with a false config, though all have signed it", async () => {
    await published("core-liar", ["alice", "bob"], { "linux/amd64": "liar" }, "1.0", {
      config: (config) => {
        const { diff_ids: ids } = config.rootfs as { diff_ids: string[] };
        return { ...config, rootfs: { type: "layers", diff_ids: [...ids].reverse() } };
      },
    });
    const ended = await stagex("verify", `${at("core-liar")}:1.0`, ...rule(), "--json");
    expect(ended.code).toBe(1);
    const [{ answer, reason } = { answer: "", reason: "" }] = listed(ended);
    expect({ answer, reason }).toEqual({
      answer: "not met",
      reason: expect.stringMatching(
        /the layer unpacks to sha256:\w+, but the image's config says sha256:\w+/,
      ),
    });
    expect((await stagex("verify", `${at("core-liar")}:1.0`, ...rule(), "--no-blobs")).code).toBe(0);
  });

  test.each([
    ["by its version", ":1.0"],
    ["by a tag that moves, as what its manifest says it is", ":latest"],
    ["by the tag of a release", ":sx2026.03.0"],
    ["by digest alone", "@"],
    ["by tag and digest", ":1.0@"],
  ])("an image is met, %s", async (_name, tail) => {
    const image = `${at("core-one")}${tail.replace("@", `@${digestOf("core-one")}`)}`;
    const ended = await stagex("verify", image, ...rule(), "--json");
    expect(ended).toMatchObject({ code: 0, stderr: "" });
    expect(listed(ended)).toMatchObject([
      {
        image,
        reference: "docker.io/stagex/core-one:1.0",
        digest: digestOf("core-one"),
        answer: "met",
        met: true,
        people: 2,
        vendors: 2,
        hashed: { blobs: 4 },
      },
    ]);
  });

  test("requires and reports each platform", async () => {
    const ended = await stagex("verify", `${at("core-two")}:1.0`, ...rule(), "--json");
    expect(ended.code).toBe(0);
    expect(listed(ended).map(({ platform, answer }) => [platform, answer])).toEqual([
      ["linux/amd64", "met"],
      ["linux/arm64", "met"],
    ]);
    const one = await mkdtemp(join(home, "some-"));
    await cp(lookaside.folder, one, { recursive: true });
    const hex = hexOf(layouts["core-two"]?.manifests[1] ?? expect.fail());
    await rm(join(one, `stagex/core-two@sha256=${hex}/signature-2`));
    const half = await stagex("verify", `${at("core-two")}:1.0`, ...rule(one));
    expect(half.code).toBe(1);
    expect(half.stdout).toContain("(linux/arm64): not met: 1 of 2 people (alice)");
    expect(half.stdout).toContain("1 of 2 met, 1 not met");
  });

  test("exits with 1 below quorum, and asks for no layer", async () => {
    proxy.failAt(/never/, answer(500));
    const ended = await stagex("verify", `${at("core-half")}:1.0`, ...rule());
    expect(ended.code).toBe(1);
    expect(ended.stdout).toContain("not met: 1 of 2 people (alice), 1 of 2 vendors (GenuineIntel)");
    expect(proxy.asked.filter((path) => path.includes("/blobs/"))).toEqual([]);
  });

  test("refuses an image signed under another name without --signed-as", async () => {
    const options = ["--signatures", lookaside.folder, "--tree", home];
    const ended = await stagex("verify", `${at("core-one")}:1.0`, ...options, "--json");
    expect(ended.code).toBe(1);
    expect(listed(ended)[0]?.rejected.map(({ code }) => code)).toEqual([
      "other-reference",
      "other-reference",
    ]);
  });

  test("refuses a moved tag whose image is signed as another version", async () => {
    const older = await published("core-moved", ["alice", "bob"], { "linux/amd64": "older" }, "0.9");
    registryClient("tag", `${server.host}/stagex/core-moved@${older.manifests[0]}`, "1.0");
    const ended = await stagex("verify", `${at("core-moved")}:1.0`, ...rule(), "--json");
    expect(ended.code).toBe(1);
    expect(listed(ended)[0]?.rejected[0]).toMatchObject({ code: "other-reference" });
  });

  test("rejects and names a blob with other bytes, unless --no-blobs is set", async () => {
    const layer = layouts["core-one"]?.layers[1] ?? expect.fail();
    proxy.failAt(new RegExp(`blobs/${layer}`), answer(200, "other bytes", "application/octet-stream"));
    const image = `${at("core-one")}:1.0`;
    const ended = await stagex("verify", image, ...rule());
    expect(ended.code).toBe(1);
    expect(ended.stdout).toContain(`@${layer}: wrong-bytes`);
    const unread = await stagex("verify", image, ...rule(), "--no-blobs");
    expect(unread.code).toBe(0);
    expect(unread.stdout).toContain("no blobs looked at");
  });

  test("rejects a manifest with other bytes than its digest", async () => {
    proxy.failAt(/manifests\/sha256/, answer(200, '{"schemaVersion":2,"manifests":[]}'));
    const ended = await stagex("verify", `${at("core-one")}@${digestOf("core-one")}`, ...rule());
    expect(ended.code).toBe(1);
    expect(ended.stdout).toContain("wrong-bytes");
  });

  test.each([
    ["a registry that fails", () => proxy.failAt(/./, answer(403, "no")), "core-one:1.0", "refused"],
    ["no such tag", () => {}, "core-one:7.7", "absent"],
    [
      "a web page for a manifest",
      () => proxy.failAt(/manifests/, answer(200, "<html>", "text/html")),
      "core-one:1.0",
      "",
    ],
  ])("exits with 2 for %s", async (_name, fail, image, words) => {
    fail();
    const ended = await stagex("verify", at(image), `${at("core-half", server.host)}:1.0`, ...rule());
    expect(ended.code).toBe(2);
    expect(ended.stdout).toContain(words);
    expect(ended.stdout).toContain("0 of 2 met, 1 not met, 1 not known");
  });

  test("waits once for a registry that does not answer", async () => {
    const silent = ["core-one", "core-two"].map((name) => `127.0.0.1:1/stagex/${name}:1.0`);
    const ended = await stagex("verify", ...silent, ...silent, ...silent, ...rule());
    expect(ended.code).toBe(2);
    expect(ended.stdout).toContain("127.0.0.1:1 is not asked again: ");
    expect(ended.stdout).toContain("0 of 6 met, 6 not known");
  });

  test("verifies a layout folder under the given name, with every blob", async () => {
    const folder = join(home, "out/core-one");
    const whole = await stagex("verify", folder, ...rule());
    expect(whole).toMatchObject({ code: 0, stderr: "" });
    const other = join(await mkdtemp(join(home, "other-")), "core-else");
    await cp(folder, other, { recursive: true });
    expect(await stagex("verify", other, ...rule())).toMatchObject({ code: 1 });
    const damaged = join(await mkdtemp(join(home, "damaged-")), "core-one");
    await cp(folder, damaged, { recursive: true });
    await flipByte(join(damaged, "blobs/sha256", hexOf(layouts["core-one"]?.layers[0] ?? expect.fail())));
    const { code, stdout } = await stagex("verify", damaged, ...rule());
    expect(code).toBe(1);
    expect(stdout).toContain("damaged");
  });

  test.each([
    ["a lookaside that answers 500", 2, 500],
    ["a lookaside without the image", 1, 404],
  ])("%s: exit %i", async (_name, code, status) => {
    const signatures: Server = createServer((_request, response) => response.writeHead(status).end());
    await new Promise<void>((done) => signatures.listen(0, "127.0.0.1", done));
    const address = signatures.address();
    const url = typeof address === "object" && address !== null ? `http://127.0.0.1:${address.port}/` : "";
    const ended = await stagex("verify", `${at("core-one")}:1.0`, ...rule(url));
    signatures.close();
    expect(ended.code).toBe(code);
  });

  test("a whole release, as its tree published it", async () => {
    const tree = await mkdtemp(join(home, "tree-"));
    const write = async (file: string, text: string) => {
      await mkdir(join(tree, file, ".."), { recursive: true });
      await writeFile(join(tree, file), text);
    };
    for (const name of ["one", "half"]) {
      const lines = ["[package]", `name = "${name}"`, 'version = "1.0"', 'description = "d"', ""];
      await write(`packages/core/${name}/package.toml`, lines.join("\n"));
      await write(`packages/core/${name}/Containerfile`, "FROM scratch\nCOPY Containerfile /\n");
    }
    const line = (name: string) => `${hexOf(digestOf(name))} ${name}\n`;
    await write("digests/core.txt", line("core-half") + line("core-one"));
    const git = (...args: string[]) =>
      execFileSync("git", ["-C", tree, "-c", "user.name=a", "-c", "user.email=a@example", ...args], {
        stdio: "pipe",
      });
    git("init", "-q");
    git("add", ".");
    git("commit", "-q", "-m", "release");
    git("tag", "2026.03.0");
    await write("digests/core.txt", line("core-one"));

    const options = [
      ...["--release", "2026.03.0", "--tree", tree, "--registry", `${proxy.host}/stagex`],
      ...[
        "--signatures",
        lookaside.folder,
        "--maintainers",
        join(home, "MAINTAINERS"),
        "--keys",
        join(home, "keys"),
      ],
      ...["--signed-as", "stagex"],
    ];
    const ended = await stagex("verify", ...options);
    expect(ended.code).toBe(1);
    expect(ended.stdout).toMatch(/core-one +docker\.io\/stagex\/core-one:1\.0 .* met$/m);
    expect(ended.stdout).toContain("core-half: not met: 1 of 2 people (alice)");
    expect(ended.stdout).toContain("1 of 2 met, 1 not met");

    // What the digests name and the registry lacks is a no too.
    await server.forget("stagex/core-one", digestOf("core-one"));
    const without = await stagex("verify", ...options, "--json");
    expect(without.code).toBe(1);
    expect(listed(without).map(({ image, answer }) => [image, answer])).toEqual([
      ["core-half", "not met"],
      ["core-one", "not met"],
    ]);
    expect(listed(without)[1]?.reason).toContain("absent");
    expect(await readFile(join(tree, "digests/core.txt"), "utf8")).toBe(line("core-one"));
  });
});
