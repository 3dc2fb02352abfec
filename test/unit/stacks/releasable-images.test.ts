import { join } from "node:path";
import { expect, test } from "vitest";
import type { BuildPlan } from "../../../distro/build-plan.ts";
import { Ledger } from "../../../distro/ledger/ledger.ts";
import { inputKeyOfPlan, lookUpOwnFirst } from "../../../distro/plan/predict-digests.ts";
import { type Digest, hexOf, parseDigest } from "../../../oci/digest.ts";
import { openLedgers } from "../../../pipeline/context/open-ledgers.ts";
import { type DigestSources, findReleasableImages } from "../../../stacks/releasable-images.ts";
import { scratchFolder } from "../../support/builders/scratch-folder.ts";

const digest = (digit: string): Digest => parseDigest(`sha256:${digit.repeat(64)}`);

function plan(name: string, dependencies: string[] = [], platforms = ["linux/amd64"]): BuildPlan {
  return {
    name,
    stage: "core",
    origin: name,
    folder: `packages/core/${name}`,
    recipe: `packages/core/${name}/Containerfile`,
    containerfile: "0".repeat(64),
    target: null,
    version: "1.0",
    platforms,
    buildArgs: {},
    context: [],
    sources: [],
    dependencies,
  } as unknown as BuildPlan;
}

const seed = plan("core-seed");
const grown = plan("core-grown", ["core-seed"]);
const several = plan("core-several", [], ["linux/amd64", "linux/arm64"]);
const images = new Map([seed, grown, several].map((one) => [one.name, one]));

async function released(sources: Partial<DigestSources>) {
  const none = async () => null;
  const nothing: DigestSources = {
    ...{ published: new Map(), furtherPublished: new Map() },
    ...{ built: none, ledger: none, stored: none },
  };
  return await findReleasableImages(images, [...images.values()], { ...nothing, ...sources });
}

/** A ledger in which these keys are known. */
function ledger(...known: [string, Record<string, Digest>, Digest?][]): DigestSources["ledger"] {
  const table = new Map(known.map(([key, platforms, index = null]) => [key, { platforms, index }]));
  return async (key) => table.get(key) ?? null;
}

test("reports an image without a known digest as not releasable", async () => {
  const { released: none, unreleased } = await released({});
  expect(none).toEqual([]);
  expect(unreleased.map(({ name }) => name)).toEqual(["core-seed", "core-grown", "core-several"]);
  expect(unreleased[0]?.reason).toContain("has not been built from these inputs");
});

test("ignores a digest published for other inputs, and uses the build on this machine", async () => {
  const published = new Map([["core-seed", hexOf(digest("1"))]]);
  const standings = async () => new Map([["core-seed", "changed"]] as const);
  const { released: none, unreleased } = await released({ published, standings });
  expect(none).toEqual([]);
  expect(unreleased[0]?.reason).toContain("has not been built from these inputs");
  const built = ledger([inputKeyOfPlan(seed, {}), { "linux/amd64": digest("2") }]);
  const { released: own } = await released({ published, standings, built, ledger: built });
  expect(own[0]).toMatchObject({ name: "core-seed", digest: digest("2") });
});

test("uses the tree's published digest if there is no build on this machine", async () => {
  const { released: found } = await released({ published: new Map([["core-seed", hexOf(digest("1"))]]) });
  expect(found).toEqual([
    { name: "core-seed", version: "1.0", digest: digest("1"), digests: { "linux/amd64": digest("1") } },
  ]);
});

test("uses the ledger only for exactly the present inputs, dependencies included", async () => {
  const known = ledger(
    [inputKeyOfPlan(seed, {}), { "linux/amd64": digest("1") }],
    [inputKeyOfPlan(grown, { "core-seed": digest("2") }), { "linux/amd64": digest("3") }],
  );
  expect((await released({ ledger: known })).released.map(({ name }) => name)).toEqual(["core-seed"]);
  const both = ledger(
    [inputKeyOfPlan(seed, {}), { "linux/amd64": digest("1") }],
    [inputKeyOfPlan(grown, { "core-seed": digest("1") }), { "linux/amd64": digest("3") }],
  );
  expect((await released({ ledger: both })).released.map((one) => one.digest)).toEqual([
    digest("1"),
    digest("3"),
  ]);
});

test("releases neither digest if the tree and the build on this machine differ", async () => {
  const built = ledger([inputKeyOfPlan(seed, {}), { "linux/amd64": digest("2") }]);
  const { released: found, unreleased } = await released({
    published: new Map([["core-seed", hexOf(digest("1"))]]),
    built,
    ledger: built,
  });
  expect(found).toEqual([]);
  expect(unreleased[0]?.reason).toContain(
    `publishes ${digest("1")}, and its inputs are known to give ${digest("2")}`,
  );
});

test("releases the tree's digest although only others' records contradict it", async () => {
  const others = ledger([inputKeyOfPlan(seed, {}), { "linux/amd64": digest("2") }]);
  const published = new Map([["core-seed", hexOf(digest("1"))]]);
  expect((await released({ published, ledger: others })).released).toEqual([
    { name: "core-seed", version: "1.0", digest: digest("1"), digests: { "linux/amd64": digest("1") } },
  ]);
});

test.each([
  ["ledger", [digest("1")]],
  ["release", [digest("1")]],
  ["quorum", []],
] as const)(
  "with trust %s a digest that only another's record names is released: %j",
  async (trust, found) => {
    const folder = await scratchFolder();
    const paths = {
      built: join(folder, "built"),
      agreed: join(folder, "agreed"),
      ledger: join(folder, "ledger"),
    };
    const record = (root: string, image: BuildPlan, hex: Digest) =>
      new Ledger(root).append({
        inputKey: inputKeyOfPlan(image, {}),
        image: image.name,
        digests: { index: null, platforms: { "linux/amd64": hex } },
        builder: { id: "mallory", facts: null },
        ...{ seconds: null, outcome: "built", finished: "2026-03-01T10:00:00.000Z" },
      });
    await record(paths.ledger, seed, digest("1"));
    const ledgers = openLedgers({ substituteTrust: trust }, paths);
    const known = () => released({ ledger: (key) => lookUpOwnFirst(ledgers, key) });
    expect((await known()).released.map((one) => one.digest)).toEqual(found);
    await record(paths.built, seed, digest("2"));
    expect((await known()).released.map((one) => one.digest)).toEqual([digest("2")]);
  },
);

test("requires all manifests and the index of an image for several platforms", async () => {
  const published = new Map([["core-several", hexOf(digest("1"))]]);
  const { unreleased } = await released({ published });
  expect(unreleased.find(({ name }) => name === "core-several")?.reason).toContain("build it first");
  const platforms = { "linux/amd64": digest("1"), "linux/arm64": digest("2") };
  const withoutIndex = ledger([inputKeyOfPlan(several, {}), platforms]);
  expect((await released({ ledger: withoutIndex })).released).toEqual([]);
  const whole = ledger([inputKeyOfPlan(several, {}), platforms, digest("3")]);
  expect((await released({ published, ledger: whole })).released).toEqual([
    { name: "core-several", version: "1.0", digest: digest("1"), digests: platforms, index: digest("3") },
  ]);
});

test.each(["linux-arm64", "index"])(
  "an image whose published digest in digests/%s is another is not released, unless its inputs are others",
  async (set) => {
    const published = new Map([["core-several", hexOf(digest("1"))]]);
    const furtherPublished = new Map([[set, new Map([["core-several", hexOf(digest("9"))]])]]);
    const platforms = { "linux/amd64": digest("1"), "linux/arm64": digest("2") };
    const known = ledger([inputKeyOfPlan(several, {}), platforms, digest("3")]);
    const own = await released({ published, furtherPublished, built: known, ledger: known });
    expect(own.released).toEqual([]);
    expect(own.unreleased.find(({ name }) => name === "core-several")?.reason).toContain(
      `publishes ${digest("9")}, and its inputs are known to give`,
    );
    const others = await released({ published, furtherPublished, ledger: known });
    expect(others.released).toEqual([]);
    const standings = async () => new Map([["core-several", "changed"]] as const);
    const changed = await released({ published, furtherPublished, standings, built: known, ledger: known });
    expect(changed.released.map(({ name }) => name)).toEqual(["core-several"]);
  },
);
