import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { enums, type PrivateKey, revokeKey } from "openpgp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readTree } from "../../distro/tree/tree.ts";
import { parseDigest } from "../../oci/digest.ts";
import { Store } from "../../oci/store/store.ts";
import { MaintainerFiles } from "../support/builders/maintainer-files.ts";
import { newKey, type People } from "../support/builders/maintainers.ts";
import { Project, publishedDigests, type Run } from "../support/builders/project.ts";
import { describeReal } from "../support/real-tools.ts";
import { RegistryServer } from "../support/servers/registry-server.ts";

/** An image for one platform, one built from it, and one for two platforms. */
const [seed, grown, several] = ["bootstrap-hex0", "bootstrap-hex1", "core-filesystem"] as const;

/** The tests are chapters of one story: each goes on from where the one before left the stack. */
describeReal("a release", () => {
  let project: Project;
  let server: RegistryServer;
  let files: MaintainerFiles;
  let people: Record<"alice" | "bob" | "carol", { keys: PrivateKey[]; brands: string[] }>;
  let versions: Record<string, string>;
  let published: Record<string, string>;

  beforeAll(async () => {
    server = await RegistryServer.start();
    project = await Project.create();
    await project.set("images", JSON.stringify([grown, several]));
    const built = await project.up();
    expect(built.code, built.output).toBe(0);
    published = await publishedDigests(project.tree);
    const { images } = await readTree(project.tree);
    versions = Object.fromEntries([...images.values()].map(({ name, version }) => [name, version]));

    people = {
      alice: { keys: [await newKey("alice")], brands: ["Intel"] },
      bob: { keys: [await newKey("bob")], brands: ["AMD"] },
      carol: { keys: [await newKey("carol")], brands: ["AMD"] },
    };
    files = new MaintainerFiles(project.folder);
    await files.write(people);
    await project.run(["stack", "init", "release", "--no-select"]);
    const settings = {
      stack: "release",
      tree: "tree",
      images: JSON.stringify([grown, several]),
      maintainers: "MAINTAINERS",
      keys: "keys",
      signatures: "signatures",
      publishTo: `${server.host}/stagex`,
      release: "2026.03.0",
    };
    for (const [key, value] of Object.entries(settings)) await set(key, value);
  });

  afterAll(async () => {
    await project?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  async function set(key: string, value: string): Promise<void> {
    await project.run(["config", "set", `stagex:${key}`, value, "--stack", "release"]);
  }

  const up = (...args: string[]): Promise<Run> =>
    project.run(["up", "--yes", "--skip-preview", "--continue-on-error", "--stack", "release", ...args]);
  const preview = (): Promise<Run> => project.run(["preview", "--stack", "release"]);

  async function outputs(): Promise<Record<string, unknown>> {
    const { output } = await project.run(["stack", "output", "--json", "--stack", "release"]);
    return JSON.parse(output) as Record<string, unknown>;
  }

  type Resource = { type: string; id?: string; initErrors?: string[]; outputs?: Record<string, unknown> };
  async function resources(type: string): Promise<Map<string, Resource>> {
    const { output } = await project.run(["stack", "export", "--stack", "release"]);
    const { deployment } = JSON.parse(output) as { deployment: { resources?: Resource[] } };
    const found = (deployment.resources ?? []).filter((one) => one.type === `stagex:index:${type}`);
    return new Map(found.map((one) => [one.id ?? "", one]));
  }

  /** A person signs every manifest of an image. */
  async function sign(person: keyof typeof people, image: string): Promise<void> {
    const store = await Store.open(join(project.folder, ".stagex/store"));
    const { manifests } = (await store.find(parseDigest(published[image] ?? ""))) ?? { manifests: [] };
    const reference = `stagex/${image}:${versions[image]}`;
    expect(manifests.length).toBeGreaterThan(0);
    for (const { digest } of manifests) await files.sign(people, person, { reference, digest });
  }

  const tagsOf = (image: string): Promise<string[]> => server.tagsOf(`stagex/${image}`);
  /**
   * A package without a version of its own has `latest` for one. This registry lists what lies beside an image under a tag that is made
   * of the image's digest.
   */
  async function tagsWanted(image: string): Promise<string[]> {
    const target = await server.digestOf(`stagex/${image}`, "latest");
    const beside = target?.replace(":", "-") ?? "nothing";
    return [...new Set([versions[image] ?? "", "latest", "sx2026.03.0", beside])].sort();
  }

  test("what is at quorum is published, the rest is made but not ready and says what it lacks", async () => {
    for (const person of ["alice", "bob"] as const) await sign(person, seed);
    await sign("alice", grown);
    // Not a key, and it might have been somebody's revocation.
    await writeFile(join(project.folder, "keys/half.asc"), "-----BEGIN PGP PUBLIC KEY BLOCK-----\n");
    const stopped = await up();
    expect(stopped.code).not.toBe(0);
    expect(stopped.output).toMatch(/of the files among the keys:\s+half\.asc: .*BEGIN or END line/);
    expect(stopped.output).toContain(`${seed} cannot be confirmed at quorum`);
    expect(await tagsOf(seed)).toEqual([]);
    await rm(join(project.folder, "keys/half.asc"));
    const { code, output } = await up();
    expect(code).not.toBe(0);
    expect(output).toContain(
      `${grown} is below quorum: 1 of 2 people (alice), 1 of 2 vendors (GenuineIntel); missing: 1 more person and 1 more CPU vendor (bob, carol; on AuthenticAMD)`,
    );
    expect(output).toContain(`${several} is below quorum: `);
    expect(output).not.toMatch(/unhandled exception|error serializing| {4}at /);
    expect(await tagsOf(seed)).toEqual(await tagsWanted(seed));
    expect(await tagsOf(grown)).toEqual([]);
    expect(await tagsOf(several)).toEqual([]);
    const quorums = await resources("Quorum");
    expect(quorums.get(seed)?.outputs).toMatchObject({ met: true, verified: published[seed] });
    expect(quorums.get(grown)?.outputs).toMatchObject({ met: false, people: 1 });
    expect(quorums.get(grown)?.initErrors).toEqual([expect.stringContaining("is below quorum")]);
    expect([...(await resources("Publication")).keys()]).toEqual([seed]);
  });

  test("a signature later, the next up goes on with it, an image for two platforms included", async () => {
    await sign("bob", grown);
    for (const person of ["alice", "carol"] as const) await sign(person, several);
    const { code, output } = await up();
    expect(code, output).toBe(0);
    for (const image of [seed, grown, several]) expect(await tagsOf(image)).toEqual(await tagsWanted(image));
    const told = await outputs();
    expect(told).toMatchObject({ pending: {}, fallen: [], missingSignatures: 0 });
    expect(told.verified).toMatchObject({ [seed]: published[seed], [grown]: published[grown] });
    expect(Object.keys(told.published as object).sort()).toEqual([seed, grown, several].sort());
  });

  test("another up changes nothing", async () => {
    const { code, output } = await up("--expect-no-changes");
    expect(code, output).toBe(0);
  });

  test("a revoked key: a preview says what falls below quorum, and the least that must be signed again", async () => {
    const [key] = people.bob.keys;
    if (!key) throw new Error("bob has a key");
    const { publicKey } = await revokeKey({
      key,
      reasonForRevocation: { flag: enums.reasonForRevocation.keyCompromised },
      format: "object",
    });
    await files.write({ ...people, bob: { ...people.bob, keys: [publicKey] } } as People);
    const { output } = await preview();
    expect(output).toContain(
      `2 of 3 images judged are below quorum, 2 of which were at quorum before: ${seed}, ${grown}.`,
    );
    expect(output).toContain("The least that must be signed: 2 signatures.");
    // Both in one line, and nowhere else but in the outputs: before the first "Outputs:", once in the log of the run and once below it.
    const told = new RegExp(
      `${seed}, ${grown}: 1 of 2 people \\(alice\\), .*; rejected: signature-2: the key [0-9A-F]{40} is revoked.*; missing: 1 more person and 1 more CPU vendor \\(carol; on AuthenticAMD\\)`,
    );
    expect(output).toMatch(told);
    expect(output.split("Outputs:")[0]?.match(/1 of 2 people/g)).toHaveLength(1);
  });

  test("a key out of the roster: the same, and images that no one can sign any more", async () => {
    await files.write({ alice: people.alice, carol: people.carol });
    expect((await preview()).output).toMatch(
      new RegExp(
        `${seed}, ${grown}: 1 of 2 people .*signature-2: signed by a key that is not among the keys`,
      ),
    );
    await files.write({ alice: people.alice });
    const { output } = await preview();
    expect(output).toContain("3 of 3 images judged are below quorum, 3 of which were at quorum before");
    expect(output).toContain("and that can't be: nobody else in the roster has a key that may sign");
    await files.write({ alice: people.alice, carol: people.carol });
  });

  test("an up then fails for them, and takes nothing away that was published", async () => {
    const { code } = await up();
    expect(code).not.toBe(0);
    for (const image of [seed, grown, several]) expect(await tagsOf(image)).toEqual(await tagsWanted(image));
    expect([...(await resources("Publication")).keys()].sort()).toEqual([seed, grown, several].sort());
    expect((await resources("Quorum")).get(seed)?.outputs).toMatchObject({ met: false });
  });

  test("a refresh finds them not ready as well, and the next up tries again", async () => {
    await project.run(["refresh", "--yes", "--skip-preview", "--stack", "release"]);
    expect((await resources("Quorum")).get(seed)?.initErrors).toHaveLength(1);
    expect((await up()).code).not.toBe(0);
  });

  test("deferred images succeed, and are listed", async () => {
    await set("onPending", "defer");
    const { code, output } = await up();
    expect(code, output).toBe(0);
    expect(output).toContain(`${seed}, ${grown}: 1 of 2 people (alice)`);
    expect(await outputs()).toMatchObject({
      pending: { [seed]: expect.stringContaining("1 of 2 people"), [grown]: expect.any(String) },
      missingSignatures: 2,
    });
    const again = await up("--expect-no-changes");
    expect(again.code, again.output).toBe(0);
    expect(Object.keys((await outputs()).pending as object).sort()).toEqual([seed, grown].sort());
  });

  test("images are waited for no longer than configured", async () => {
    await set("onPending", "wait");
    await set("wait", "0.05");
    const { code, output } = await up();
    expect(code, output).not.toBe(0);
    expect(output).toContain("1 of 2 people (alice)");
  });

  test("signed again by another, all are published again", async () => {
    await set("onPending", "fail");
    for (const image of [seed, grown]) await sign("carol", image);
    const { code, output } = await up();
    expect(code, output).toBe(0);
    expect(await outputs()).toMatchObject({ pending: {} });
  });
});
