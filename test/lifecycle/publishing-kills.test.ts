import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readTree } from "../../distro/tree/tree.ts";
import { parseDigest } from "../../oci/digest.ts";
import { Store } from "../../oci/store/store.ts";
import { leftoversOf, processesOf } from "../support/builders/leftovers.ts";
import { MaintainerFiles } from "../support/builders/maintainer-files.ts";
import { newKey, type People } from "../support/builders/maintainers.ts";
import { ended, Project, publishedDigests } from "../support/builders/project.ts";
import { describeReal } from "../support/real-tools.ts";
import { RegistryServer } from "../support/servers/registry-server.ts";

/** An image that never reaches its quorum; its dependencies do. */
const below = "core-sh";

const victims = {
  "the engine": /^\d+ \S*pulumi up /,
  "the provider": /providers\/stagex\/main\.ts/,
  everything: /./,
  "the registry": undefined,
} as const;

const rounds = Number(process.env.STAGEX_KILLS ?? 20);
const seed = Number(process.env.STAGEX_SEED ?? Date.now() % 1_000_000);
const kills = fc.sample(
  fc.record({
    victim: fc.constantFrom(...(Object.keys(victims) as (keyof typeof victims)[])),
    // In hundredths of a whole run; unbiased, for the first and the last say little.
    moment: fc.noBias(fc.integer({ min: 1, max: 99 })),
  }),
  { numRuns: rounds, seed },
);

describeReal("a publishing run that is killed at any moment", () => {
  let project: Project;
  let registry: RegistryServer;
  let atQuorum: string[];
  /** How long a run takes that nobody kills, in milliseconds. */
  let whole = 0;

  beforeAll(async () => {
    registry = await RegistryServer.start();
    project = await Project.create();
    await project.set("images", JSON.stringify([below]));
    const built = await project.up();
    expect(built.code, built.output).toBe(0);

    const people: People = { alice: { keys: [await newKey("alice")] }, bob: { keys: [await newKey("bob")] } };
    const files = new MaintainerFiles(project.folder);
    await files.write(people);
    await signAll(files, people, built.built);
    atQuorum = built.built.filter((image) => image !== below);

    await project.run(["stack", "init", "release", "--no-select"]);
    const settings = {
      stack: "release",
      tree: "tree",
      images: JSON.stringify([below]),
      onPending: "defer",
      vendors: "1",
      maintainers: "MAINTAINERS",
      keys: "keys",
      signatures: "signatures",
    };
    const pairs = Object.entries(settings).flatMap(([key, value]) => [
      "--plaintext",
      `stagex:${key}=${value}`,
    ]);
    await project.run(["config", "set-all", ...pairs, "--stack", "release"]);
    await publishTo("undisturbed");
    const started = performance.now();
    const run = await ended(start());
    whole = performance.now() - started;
    expect(run.code, run.output).toBe(0);
    await expectPublished("undisturbed");
  });

  afterAll(async () => {
    await project[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });

  /** Two people sign each image; only one of them the one that stays below. */
  async function signAll(files: MaintainerFiles, people: People, images: readonly string[]): Promise<void> {
    const store = await Store.open(join(project.folder, ".stagex/store"));
    const published = await publishedDigests(project.tree);
    const tree = await readTree(project.tree);
    for (const image of images) {
      const reference = `stagex/${image}:${tree.images.get(image)?.version}`;
      const found = await store.find(parseDigest(published[image] ?? ""));
      for (const { digest } of found?.manifests ?? []) {
        await files.sign(people, "alice", { reference, digest });
        if (image !== below) await files.sign(people, "bob", { reference, digest });
      }
    }
  }

  const start = () => project.startStagex(["start", "--stack", "release"]);

  const publishTo = (namespace: string) =>
    project.set("publishTo", `${registry.host}/${namespace}`, "release");

  /** Below quorum nothing, and behind every tag all that it needs. */
  async function expectNothingHalf(namespace = ""): Promise<void> {
    for (const repository of await registry.repositories()) {
      if (!repository.startsWith(namespace)) continue;
      expect(repository.endsWith(`/${below}`), `${repository} is below quorum`).toBe(false);
      for (const tag of await registry.tagsOf(repository)) {
        expect(await registry.missingBehind(repository, tag)).toEqual([]);
      }
    }
  }

  async function expectPublished(namespace: string): Promise<void> {
    for (const image of atQuorum) {
      expect(await registry.tagsOf(`${namespace}/${image}`), image).toContain("latest");
    }
    await expectNothingHalf(`${namespace}/`);
  }

  test("there is one image below quorum, and some that are not", async () => {
    expect(atQuorum.length).toBeGreaterThan(3);
    expect(await registry.repositories()).not.toContain(`undisturbed/${below}`);
  });

  test.each(kills.map((kill, round) => ({ ...kill, round })))(
    `round $round of STAGEX_SEED=${seed}: $victim, at $moment % of it`,
    async ({ victim, moment, round }) => {
      const namespace = `round-${round}`;
      await publishTo(namespace);
      const running = start();
      await sleep((moment / 100) * whole);
      const pattern = victims[victim];
      if (pattern === undefined) await registry.kill();
      else for (const pid of await processesOf(project.folder, pattern)) killed(pid);
      const restarted = pattern === undefined ? sleep(500).then(() => registry.restart()) : undefined;
      await ended(running);
      await restarted;
      await expect.poll(() => leftoversOf(project.folder), { timeout: 60_000, interval: 200 }).toEqual([]);
      await expectNothingHalf(`${namespace}/`);

      const next = await ended(start());
      expect(next.code, next.output).toBe(0);
      await expectPublished(namespace);
    },
  );

  test("no later round has taken anything of an earlier one away", async () => {
    await expectNothingHalf();
  });
});

/** It may have ended by itself, or when another did. */
function killed(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
