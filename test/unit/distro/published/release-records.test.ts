import { join } from "node:path";
import { expect, test } from "vitest";
import { Ledger } from "../../../../distro/ledger/ledger.ts";
import { predictDigests } from "../../../../distro/plan/predict-digests.ts";
import {
  createReleaseRecords,
  findPublishingCommit,
  hasManifestDigests,
  type ReleaseRecords,
} from "../../../../distro/published/release-records.ts";
import { readTree } from "../../../../distro/tree/tree.ts";
import { digestOf, hexOf } from "../../../../oci/digest.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";
import { git, packageFiles, trackedTree, writeInto } from "../../../support/builders/written-tree.ts";

const finished = new Date("2026-03-01T10:00:00Z");
const nothingKnown = async () => null;

const from = (...names: string[]) => ({
  containerfile: `FROM scratch\n${names.map((name) => `COPY --from=stagex/${name} . /\n`).join("")}`,
});
const onTwoPlatforms = { toml: 'version = "1.0"\nplatforms = ["linux/amd64", "linux/arm64"]\n' };

/** A tree whose digests/core.txt has an entry for each of these images. */
async function released(files: Record<string, string>, published: readonly string[]) {
  const lines = published.map((name) => `${hexOf(digestOf(name))} ${name}\n`).join("");
  const tree = await readTree(trackedTree({ ...files, "digests/core.txt": lines }));
  return { name: "2026.03.0", tree, finished };
}

function imagesIn({ records }: ReleaseRecords): string[] {
  return records.map(({ image }) => image).sort();
}

test("creates a record for every published image, from which all digests follow without a build", async () => {
  const images = ["core-seed", "core-tool", "core-app"];
  const files = {
    ...packageFiles("core/seed"),
    ...packageFiles("core/tool", from("core-seed")),
    ...packageFiles("core/app", from("core-tool", "core-seed")),
  };
  const release = await released(files, images);
  const imported = await createReleaseRecords(release, nothingKnown);
  expect(imagesIn(imported)).toEqual([...images].sort());
  expect(imported.skipped).toEqual([]);
  expect(imported.gone).toEqual([]);
  expect(imported.records[0]).toMatchObject({
    image: "core-seed",
    digests: { index: null, platforms: { "linux/amd64": digestOf("core-seed") } },
    builder: { id: "release-2026.03.0", facts: null },
    seconds: null,
    outcome: "built",
    finished: "2026-03-01T10:00:00.000Z",
  });

  const ledger = new Ledger(join(await scratchFolder(), "ledger"));
  for (const record of imported.records) await ledger.append(record);
  const lookup = async (key: Parameters<Ledger["lookUp"]>[0]) => (await ledger.lookUp(key)).digests;
  const known = await predictDigests(release.tree.images, lookup);
  expect(Object.fromEntries(known)).toEqual(Object.fromEntries(images.map((name) => [name, digestOf(name)])));
});

test("leaves out an unpublished image and its direct dependents only", async () => {
  const files = {
    ...packageFiles("core/seed"),
    ...packageFiles("core/tool", from("core-seed")),
    ...packageFiles("core/app", from("core-tool")),
  };
  const imported = await createReleaseRecords(
    await released(files, ["core-tool", "core-app", "core-old"]),
    nothingKnown,
  );
  expect(imported.skipped).toEqual([
    { image: "core-seed", why: "not published", dependencies: [] },
    { image: "core-tool", why: "dependency not published", dependencies: ["core-seed"] },
  ]);
  expect(imagesIn(imported)).toEqual(["core-app"]);
  expect(imported.gone).toEqual(["core-old"]);
});

test("records the first of several platforms, and leaves out dependents without a published index", async () => {
  const files = {
    ...packageFiles("core/seed", onTwoPlatforms),
    ...packageFiles("core/tool", from("core-seed")),
  };
  const release = await released(files, ["core-seed", "core-tool"]);
  const imported = await createReleaseRecords(release, nothingKnown);
  expect(imported.records.map(({ image, digests }) => [image, digests.platforms])).toEqual([
    ["core-seed", { "linux/amd64": digestOf("core-seed") }],
  ]);
  expect(imported.skipped).toEqual([
    { image: "core-tool", why: "index not published", dependencies: ["core-seed"] },
  ]);

  const seed = imported.records[0]?.inputKey;
  const known = { index: digestOf("index"), platforms: {} };
  const more = await createReleaseRecords(release, async (key) => (key === seed ? known : null));
  expect(imagesIn(more)).toEqual(["core-seed", "core-tool"]);
  expect(more.skipped).toEqual([]);
});

test("records all platforms and the index where they are published, and then the dependents", async () => {
  const files = {
    ...packageFiles("core/seed", onTwoPlatforms),
    ...packageFiles("core/tool", from("core-seed")),
  };
  const line = (word: string) => `${hexOf(digestOf(word))} core-seed\n`;
  const whole = {
    ...files,
    "digests/linux-arm64/core.txt": line("arm"),
    "digests/index/core.txt": line("index"),
  };
  const imported = await createReleaseRecords(
    await released(whole, ["core-seed", "core-tool"]),
    nothingKnown,
  );
  expect(imported.skipped).toEqual([]);
  expect(imported.records[0]?.digests).toEqual({
    index: digestOf("index"),
    platforms: { "linux/amd64": digestOf("core-seed"), "linux/arm64": digestOf("arm") },
  });
  const { "digests/linux-arm64/core.txt": _, ...partial } = whole;
  const less = await createReleaseRecords(await released(partial, ["core-seed", "core-tool"]), nothingKnown);
  expect(less.records[0]?.digests).toEqual({
    index: null,
    platforms: { "linux/amd64": digestOf("core-seed") },
  });
});

test("finds the commit that last changed the digests, whatever came after", async () => {
  const root = trackedTree(packageFiles("core/seed"));
  const commit = (message: string): string => {
    git(root, "add", "--all");
    git(
      root,
      "-c",
      "user.name=T",
      "-c",
      "user.email=t@example.org",
      "commit",
      "--quiet",
      "--message",
      message,
    );
    return git(root, "rev-parse", "HEAD").trim();
  };
  commit("A package");
  expect(await findPublishingCommit(root)).toBeNull();
  writeInto(root, { "digests/core.txt": "" });
  const publishing = commit("Digests");
  writeInto(root, packageFiles("core/tool"));
  commit("Another package");
  writeInto(root, { "digests/user.txt": "not committed" });
  expect(await findPublishingCommit(root)).toBe(publishing);
});

test.each([
  ["2024.12.0", false],
  ["2025.06.0", false],
  ["2025.06.1", true],
  ["2025.10.0", true],
  ["2026.03.0", true],
  ["v1", true],
])("hasManifestDigests of %s is %s", (name, expected) => {
  expect(hasManifestDigests(name)).toBe(expected);
});
