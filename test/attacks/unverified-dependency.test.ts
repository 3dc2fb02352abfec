import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseConfig } from "../../config/schema.ts";
import type { BuildPlan } from "../../distro/build-plan.ts";
import type { LedgerRecord } from "../../distro/ledger/ledger.ts";
import { inputKeyOfPlan } from "../../distro/plan/predict-digests.ts";
import { type Digest, digestOf, hexOf } from "../../oci/digest.ts";
import { requireAttestableBuild } from "../../pipeline/attestation/attestable-build.ts";
import { Context } from "../../pipeline/context/context.ts";
import { parseRepository } from "../../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../../trust/signatures/lookaside-folder.ts";
import { maintainersOf, newKey, payload, signedBy } from "../support/builders/maintainers.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";
import { git, packageFiles, trackedTree, writeInto } from "../support/builders/written-tree.ts";

const from = (name: string) => ({ containerfile: `FROM scratch\nCOPY --from=stagex/${name} . /\n` });
const names = ["core-one", "core-two", "core-three"];
const [honest, foreign] = [digestOf("what one is"), digestOf("what somebody says that one is")];

/**
 * Makes a state folder, and a tree of three images, each built from the one before. The tree
 * publishes a digest of the first.
 */
async function machine(published: Digest | undefined = undefined) {
  const tree = trackedTree({
    ...packageFiles("core/one"),
    ...packageFiles("core/two", from("core-one")),
    ...packageFiles("core/three", from("core-two")),
    ...(published ? { "digests/core.txt": `${hexOf(published)} core-one\n` } : {}),
  });
  const project = await scratchFolder();
  const [alice, bob] = [await newKey("alice"), await newKey("bob")];
  const people = { alice: { keys: [alice] }, bob: { keys: [bob], brands: ["Intel"] } };
  await mkdir(join(tree, "keys"));
  for (const [name, key] of Object.entries({ alice, bob }))
    writeInto(tree, { [`keys/${name}.asc`]: key.toPublic().armor() });
  await writeFile(join(tree, "MAINTAINERS"), maintainersOf(people));
  git(tree, "add", "--all");
  git(
    tree,
    "-c",
    "user.name=Test",
    "-c",
    "user.email=test@example.org",
    "commit",
    "--quiet",
    "--message",
    "All",
  );
  const config = parseConfig({
    tree,
    attest: "alice",
    substitute: '["core-one"]',
    substituteFrom: "127.0.0.1:1/stagex",
  });
  const open = () => new Context(config, project, new AbortController().signal);
  const { images } = await open().tree();
  const lookaside = new LookasideFolder(join(project, ".stagex/signatures"));
  const sign = async (digest: Digest, ...keys: (typeof alice)[]) => {
    for (const key of keys) {
      const bytes = await signedBy(key, payload({ reference: "stagex/core-one:1.0", manifest: digest }));
      await lookaside.write(parseRepository("stagex/core-one"), digest, bytes);
    }
  };
  return { open, images, sign, alice, bob };
}

/** The records of the three, of which the first gives this digest. */
function chain(images: ReadonlyMap<string, BuildPlan>, one: Digest): LedgerRecord[] {
  const digests: Record<string, Digest> = {
    "core-one": one,
    "core-two": digestOf(`two of ${one}`),
    "core-three": digestOf(`three of ${one}`),
  };
  return names.map((name) => {
    const plan = images.get(name);
    if (!plan) throw new Error(name);
    const dependencies = Object.fromEntries(
      plan.dependencies.map((dependency) => [dependency, digests[dependency] ?? one]),
    );
    return {
      inputKey: inputKeyOfPlan(plan, dependencies),
      image: name,
      digests: { index: null, platforms: { "linux/amd64": digests[name] ?? one } },
      builder: { id: "local", facts: null },
      seconds: 1,
      outcome: "built",
      finished: "2026-03-01T10:20:30.456Z",
    };
  });
}

const attested = (context: Context, { image, inputKey, digests }: LedgerRecord) =>
  requireAttestableBuild(context, { image, inputKey, digests: digests.platforms });

test("attests an image built here down to its first dependency", async () => {
  const { open, images } = await machine();
  const records = chain(images, honest);
  for (const record of records) await open().built.append(record);
  for (const record of records) expect((await attested(open(), record)).size).toBe(1);
});

test("refuses an image with a dependency known from a ledger alone, at any depth", async () => {
  const { open, images } = await machine();
  const [one, two, three] = chain(images, foreign);
  if (!one || !two || !three) throw new Error("three");
  await open().ledger.append(one);
  for (const record of [two, three]) {
    await open().built.append(record);
    await open().ledger.append(record);
  }
  for (const { image } of [two, three]) {
    const record = image === "core-two" ? two : three;
    await expect(attested(open(), record)).rejects.toThrow(
      new RegExp(
        `^${image} is not attested: it is built from core-one, and that is on another's word.*leave it out of stagex:substitute, and run pulumi up --replace '\\*\\*:Package::core-one'$`,
      ),
    );
  }
});

test("refuses an image whose dependency has since been built here with another digest", async () => {
  const { open, images } = await machine();
  const [mine] = chain(images, honest);
  const [, two, three] = chain(images, foreign);
  if (!mine || !two || !three) throw new Error("three");
  for (const record of [mine, two, three]) await open().built.append(record);
  await expect(attested(open(), two)).rejects.toThrow(
    /core-two is not attested: it was built from other inputs/,
  );
  await expect(attested(open(), three)).rejects.toThrow(
    /core-three is not attested: it is built from core-two, and that is on another's word/,
  );
});

test("refuses a dependency with a published digest below quorum, and accepts one at quorum", async () => {
  const { open, images, sign, alice, bob } = await machine(foreign);
  const [, two, three] = chain(images, foreign);
  if (!two || !three) throw new Error("three");
  for (const record of [two, three]) await open().built.append(record);
  await sign(foreign, alice);
  await expect(attested(open(), three)).rejects.toThrow(
    /built from core-one, and that is on another's word.*is below quorum: 1 of 2 people \(alice\)/,
  );
  await sign(foreign, bob);
  for (const record of [two, three]) expect((await attested(open(), record)).size).toBe(1);
});

test("refuses a dependency with a signed digest that was not published for its inputs", async () => {
  const { open, images, sign, alice, bob } = await machine(honest);
  const [one, two] = chain(images, foreign);
  if (!one || !two) throw new Error("two");
  await open().ledger.append(one);
  await open().built.append(two);
  await sign(foreign, alice, bob);
  await expect(attested(open(), two)).rejects.toThrow(/core-one, and that is on another's word/);
});

test("refuses a dependency that was built here twice with different digests", async () => {
  const { open, images } = await machine();
  const records = chain(images, honest);
  for (const record of records) await open().built.append(record);
  const [one] = chain(images, foreign);
  if (!one) throw new Error("one");
  await open().built.append(one);
  for (const record of records.slice(1))
    await expect(attested(open(), record)).rejects.toThrow(/core-one, and that came out differently here/);
});
