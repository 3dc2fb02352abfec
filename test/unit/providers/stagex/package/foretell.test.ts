import { chmod, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { digestOf } from "../../../../../oci/digest.ts";
import { parseConfig } from "../../../../../providers/stagex/config.ts";
import { packageInputs } from "../../../../../providers/stagex/package/inputs.ts";
import { keyOf } from "../../../../../providers/stagex/package/key.ts";
import { foretell } from "../../../../../providers/stagex/package/trusted.ts";
import { Workshop } from "../../../../../providers/stagex/workshop.ts";
import { writeLayout } from "../../../../fixtures/image-layout.ts";
import { scratchFolder } from "../../../../fixtures/scratch-folder.ts";

const inputs = packageInputs.parse({
  ...{ image: "core-hello", version: "1.0", recipe: "core/hello/Containerfile", platforms: ["linux/amd64"] },
  ...{ containerfile: digestOf("recipe"), context: digestOf("context") },
  ...{ buildArgs: {}, sources: {}, dependencies: {} },
});
const inputKey = keyOf(inputs);
const longAgo = new Date("2026-01-01");

/** A checkout whose ledger knows an image, which is beside it, and may be adopted. */
async function setUp() {
  const project = await scratchFolder();
  const { folder, index, manifests } = await writeLayout(join(project, "layout"), {
    platforms: { "linux/amd64": { layers: [[{ name: "bin/hello", content: "hello" }]] } },
  });
  const [digest = digestOf("none")] = manifests;
  const open = () => new Workshop(parseConfig({}), project, AbortSignal.timeout(60_000));
  const record = async (id: string, digests: { index: typeof index | null; platforms: object }) =>
    await open().ledger.record({
      ...{
        inputKey,
        image: "core-hello",
        seconds: 1,
        outcome: "built",
        finished: "2026-03-01T10:20:30.456Z",
      },
      ...{ builder: { id, facts: null }, digests: { ...digests, platforms: { ...digests.platforms } } },
    });
  /** What a process of its own says, all files being from long ago. */
  const foretold = async () => {
    await age(project);
    const workshop = open();
    onTestFinished(() => workshop.close());
    const said = await foretell(workshop, inputs);
    await workshop.close();
    return said;
  };
  const adopt = async () => await (await open().store()).adopt(folder);
  await record("first", { index, platforms: { "linux/amd64": digest } });
  return { project, open, record, foretold, adopt, digest, index };
}

async function age(project: string): Promise<void> {
  const entries = await readdir(project, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    // Whatever is new gets a time that it had not before, and that lies well back.
    if (Date.now() - (await stat(path)).mtimeMs < 10_000)
      await utimes(path, longAgo, new Date(Date.now() - 60_000));
  }
}

async function corrupt(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[0] = (bytes[0] ?? 0) ^ 1;
  await chmod(path, 0o644);
  await writeFile(path, bytes);
}

test("what a preview foretells is what the one before it did, until the ledger or the store says else", async () => {
  const { project, open, record, foretold, adopt, digest, index } = await setUp();
  const outputs = { digest, digests: { "linux/amd64": digest }, reference: digest, index, inputKey };
  expect(await foretold()).toEqual({ outputs, isAtHand: false });
  expect(await foretold()).toEqual({ outputs, isAtHand: false });
  await adopt();
  expect(await foretold()).toEqual({ outputs, isAtHand: true });
  expect(await foretold()).toEqual({ outputs, isAtHand: true });

  const blob = (await open().store()).blobPath(digest);
  await corrupt(blob);
  expect(await foretold()).toEqual({ outputs, isAtHand: false });
  await rm(blob);
  expect(await foretold()).toEqual({ outputs, isAtHand: false });
  await adopt();
  expect(await foretold()).toEqual({ outputs, isAtHand: true });

  await rm(join(project, ".stagex/store/images"), { recursive: true });
  expect(await foretold()).toEqual({ outputs, isAtHand: false });
  await adopt();
  await record("second", { index: null, platforms: { "linux/amd64": digestOf("another") } });
  expect(await foretold()).toEqual({ outputs: { inputKey }, isAtHand: false });
});

test("the second one reads neither records nor documents", async () => {
  const { project, open, foretold, adopt, digest } = await setUp();
  await adopt();
  const first = await foretold();
  // Altered behind the back of their times, which only an audit finds: whoever reads them now can't say the same.
  const blob = (await open().store()).blobPath(digest);
  const [record = ""] = await readdir(join(project, ".stagex/ledger", inputKey.slice(0, 2), inputKey));
  for (const path of [blob, join(project, ".stagex/ledger", inputKey.slice(0, 2), inputKey, record)]) {
    const { atime, mtime } = await stat(path);
    await corrupt(path);
    await utimes(path, atime, mtime);
  }
  expect(await foretold()).toEqual(first);
  await rm(join(project, ".stagex/recollection.json"));
  expect(await foretold()).toEqual({ outputs: { inputKey }, isAtHand: false });
});
