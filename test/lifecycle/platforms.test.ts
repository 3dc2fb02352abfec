import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Ledger } from "../../distro/ledger/ledger.ts";
import { parseDigest } from "../../oci/digest.ts";
import { Registry } from "../../oci/registry/registry.ts";
import { parseRegistryAddress } from "../../oci/registry/registry-address.ts";
import { Store } from "../../oci/store/store.ts";
import { MaintainerFiles } from "../support/builders/maintainer-files.ts";
import { newKey } from "../support/builders/maintainers.ts";
import { ended, Project } from "../support/builders/project.ts";
import { packageFiles, writeInto } from "../support/builders/written-tree.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { RegistryServer } from "../support/servers/registry-server.ts";

const platforms = ["linux/amd64", "linux/arm64"];

/** Images of files alone, which are built for any platform without emulation. */
const tree = {
  ...packageFiles("core/seed", { containerfile: "FROM scratch\nCOPY seed /seed\n" }),
  "packages/core/seed/seed": "a seed\n",
  ...packageFiles("user/leaf", { containerfile: "FROM scratch\nCOPY --from=stagex/core-seed /seed /leaf\n" }),
  ...packageFiles("user/lone", {
    toml: 'version = "1.0"\nplatforms = ["linux/amd64"]\n',
    containerfile: "FROM scratch\nCOPY lone /lone\n",
  }),
  "packages/user/lone/lone": "for one platform\n",
};

type Outputs = { image: string; digest: string; digests: Record<string, string>; index: string };

describeReal("a tree for several platforms", () => {
  let project: Project;
  let server: RegistryServer;
  /** What the first run made of each image. */
  let made: Record<string, Outputs>;

  beforeAll(async () => {
    project = await Project.create();
    for (const part of ["packages", "digests"]) await rm(join(project.tree, part), { recursive: true });
    writeInto(project.tree, tree);
    await project.commit("A tree for several platforms");
    await project.set("platforms", JSON.stringify(platforms));
    server = await RegistryServer.start();
  });

  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await project[Symbol.asyncDispose]();
  });

  /** What the state has of each image. */
  async function outputs(stack = "test"): Promise<Record<string, Outputs>> {
    const { output } = await project.run(["stack", "export", "--stack", stack]);
    const { resources } = JSON.parse(output).deployment as {
      resources: { type: string; inputs: { image: string }; outputs: Omit<Outputs, "image"> }[];
    };
    const packages = resources.filter(({ type }) => type === "stagex:index:Package");
    return Object.fromEntries(
      packages.map(({ inputs, outputs }) => [inputs.image, { ...outputs, image: inputs.image }]),
    );
  }

  const digests = async (...args: string[]) =>
    await ended(project.startStagex(["digests", "--stack", "test", ...args]));
  const line = (image: string, digest: string | undefined) => `${digest?.replace("sha256:", "")} ${image}\n`;

  test("the digest of every platform is in the outputs and in the ledger; an image for one alone is said to be", async () => {
    const run = await project.run(["up", "--yes", "--stack", "test"]);
    expect(run.code, run.output).toBe(0);
    expect(run.output).toContain(
      "not for linux/amd64, linux/arm64, as their package.toml says, and built for their own platforms: user-lone (linux/amd64)",
    );
    made = await outputs();
    expect(Object.keys(made).sort()).toEqual(["core-seed", "user-leaf", "user-lone"]);
    const { records } = await new Ledger(join(project.folder, ".stagex/ledger")).readAll();
    for (const { image, digest, digests: own, index } of Object.values(made)) {
      const expected = image === "user-lone" ? ["linux/amd64"] : platforms;
      expect(Object.keys(own).sort()).toEqual(expected);
      expect(new Set(Object.values(own)).size).toBe(expected.length);
      expect(own["linux/amd64"]).toBe(digest);
      const [record, ...others] = records.filter((each) => each.image === image);
      expect(others).toEqual([]);
      expect(record?.digests).toEqual({ index, platforms: own });
    }
  });

  test("digests prints the first platform's as StageX does, the others' and the indexes' alike, and writes each set beside it", async () => {
    const of = (set: (image: Outputs) => string | undefined, ...images: string[]) =>
      images.map((image) => line(image, made[image] && set(made[image]))).join("");
    const first = of(({ digest }) => digest, "core-seed", "user-leaf", "user-lone");
    const arm = of(({ digests: own }) => own["linux/arm64"], "core-seed", "user-leaf");
    const index = of((image) => image.index, "core-seed", "user-leaf");
    const runs = [digests(), digests("--platform", "linux/arm64"), digests("--write")];
    const [plain, further, writing] = await Promise.all(runs);
    expect(plain?.output).toBe(first);
    expect(further?.output).toBe(`not for linux/arm64, as their package.toml says: user-lone\n${arm}`);
    expect(writing?.code).toBe(0);
    const stages = ["core", "user"];
    for (const [folder, text] of Object.entries({ "": first, "linux-arm64": arm, index })) {
      const written = stages.map((stage) =>
        readFile(join(project.tree, "digests", folder, `${stage}.txt`), "utf8"),
      );
      expect((await Promise.all(written)).join("")).toBe(text);
    }
    await project.commit("Digests");
  });

  test("what was published is verified on every platform", async () => {
    await project.set("verify", "all");
    const { code, output } = await project.up();
    expect(code, output).toBe(0);
    expect(output).toContain("3 updated");
    expect(output).toMatch(/verified: (?:0 => )?3$/m);
  });

  test("one digit of the further platform's line alone is refused, with the platform, the expected digest and the found one", async () => {
    const found = made["core-seed"]?.digests["linux/arm64"] ?? "";
    const other = `${found.slice(0, -1)}${found.endsWith("0") ? "1" : "0"}`;
    const file = "digests/linux-arm64/core.txt";
    await project.edit(file, (text) => text.replace(found.slice(7), other.slice(7)));
    const { code, output } = await project.up(["--continue-on-error"]);
    expect(code).not.toBe(0);
    expect(output).toContain(
      "core-seed: its digest for linux/arm64 is not the one that the tree publishes in digests/linux-arm64/core.txt",
    );
    expect(output).toMatch(new RegExp(`published: ${other}\\n\\s*got: +${found}`));
    expect(output).not.toMatch(/user-leaf\b.*updated/);
    // So is an index in which nothing else is wrong, in the mode that holds the fewest images.
    await project.git("checkout", "--quiet", ".");
    const { index = "" } = made["core-seed"] ?? {};
    const another = `${index.slice(0, -1)}${index.endsWith("0") ? "1" : "0"}`;
    await project.edit("digests/index/core.txt", (text) => text.replace(index.slice(7), another.slice(7)));
    await project.commit("Another index");
    await project.set("verify", "false");
    const preview = await project.run(["preview", "--stack", "test"]);
    expect(preview.output).toContain(
      `core-seed will fail: these inputs are known to give ${index} of the index, and the tree publishes ${another}`,
    );
    await project.git("reset", "--quiet", "--hard", "HEAD~1");
  });

  test("with trust quorum an image is pulled where every platform's manifest is signed by enough, and built where one is not", async () => {
    const store = await Store.open(join(project.folder, ".stagex/store"));
    const registry = new Registry(parseRegistryAddress(`${server.host}/stagex`), realTool("registry-client"));
    const files = new MaintainerFiles(project.folder);
    const people = {
      alice: { keys: [await newKey("alice")], brands: ["Intel"] },
      bob: { keys: [await newKey("bob")], brands: ["AMD"] },
    };
    await files.write(people);
    for (const { image, digests: own, index } of Object.values(made)) {
      const scratch = join(project.folder, ".stagex/scratch");
      await registry.push(image, parseDigest(index), { store, scratch });
      for (const [platform, digest] of Object.entries(own)) {
        if (image === "user-leaf" && platform === "linux/arm64") continue;
        const signed = { reference: `stagex/${image}:1.0`, digest: parseDigest(digest) };
        for (const person of Object.keys(people)) await files.sign(people, person, signed);
      }
    }
    await project.run(["stack", "init", "fresh"]);
    const settings = {
      ...{ tree: "tree", platforms: JSON.stringify(platforms), verify: "all", substituteTrust: "quorum" },
      ...{ substituteFrom: `${server.host}/stagex`, substitute: '["*"]' },
      ...{ maintainers: "MAINTAINERS", keys: "keys", signatures: "signatures" },
    };
    for (const [key, value] of Object.entries(settings)) await project.set(key, value, "fresh");
    for (const part of ["store", "ledger", "built", "agreed"])
      await rm(join(project.folder, ".stagex", part), { recursive: true, force: true });
    await rm(join(project.folder, "journal.jsonl"), { force: true });
    const { code, output } = await project.run(["up", "--yes", "--skip-preview", "--stack", "fresh"]);
    expect(code, output).toBe(0);
    expect(output).toContain(
      `user-leaf is built here: docker.io/stagex/user-leaf:1.0@${made["user-leaf"]?.digests["linux/arm64"]} is below quorum: 0 of 2 people`,
    );
    expect(await project.built()).toEqual(["user-leaf"]);
    const { "user-leaf": leaf, ...pulled } = await outputs("fresh");
    expect(leaf).toMatchObject({ origin: "built", digests: made["user-leaf"]?.digests });
    for (const [image, found] of Object.entries(pulled))
      expect(found).toMatchObject({ origin: "substituted", digests: made[image]?.digests });
  });
});
