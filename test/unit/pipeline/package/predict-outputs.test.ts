import { chmod, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { parseConfig } from "../../../../config/schema.ts";
import { inputKeyOf } from "../../../../distro/plan/image-inputs.ts";
import { digestOf } from "../../../../oci/digest.ts";
import { Context } from "../../../../pipeline/context/context.ts";
import { packageInputs } from "../../../../pipeline/package/inputs.ts";
import { predictOutputs } from "../../../../pipeline/package/predict-outputs.ts";
import { writeLayout } from "../../../support/builders/image-layout.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const inputs = packageInputs.parse({
  ...{ image: "core-hello", version: "1.0", recipe: "core/hello/Containerfile", platforms: ["linux/amd64"] },
  ...{ containerfile: digestOf("recipe"), context: digestOf("context") },
  ...{ buildArgs: {}, sources: {}, dependencies: {} },
});
const inputKey = inputKeyOf(inputs);

/** A checkout whose ledger knows an image, which is beside it, and may be adopted. */
async function setUp() {
  const project = await scratchFolder();
  const { folder, index, manifests } = await writeLayout(join(project, "layout"), {
    platforms: { "linux/amd64": { layers: [[{ name: "bin/hello", content: "hello" }]] } },
  });
  const [digest = digestOf("none")] = manifests;
  const open = () => new Context(parseConfig({}), project, AbortSignal.timeout(60_000));
  const record = async (id: string, digests: { index: typeof index | null; platforms: object }) =>
    await open().ledger.append({
      ...{
        inputKey,
        image: "core-hello",
        seconds: 1,
        outcome: "built",
        finished: "2026-03-01T10:20:30.456Z",
      },
      ...{ builder: { id, facts: null }, digests: { ...digests, platforms: { ...digests.platforms } } },
    });
  /** What a process of its own says, some time after all files were written. */
  const foretold = async () => {
    const now = Date.now();
    vi.spyOn(Date, "now").mockReturnValue(now + 60_000);
    onTestFinished(() => void vi.restoreAllMocks());
    const context = open();
    onTestFinished(() => context.close());
    const said = await predictOutputs(context, inputs);
    await context.close();
    vi.restoreAllMocks();
    return said;
  };
  const adopt = async () => await (await open().store()).adopt(folder);
  await record("first", { index, platforms: { "linux/amd64": digest } });
  return { project, open, record, foretold, adopt, digest, index };
}

async function corrupt(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[0] = (bytes[0] ?? 0) ^ 1;
  await chmod(path, 0o644);
  await writeFile(path, bytes);
}

test("predicts as the preview before, until ledger or store change", async () => {
  const { project, open, record, foretold, adopt, digest, index } = await setUp();
  const outputs = { digest, digests: { "linux/amd64": digest }, reference: digest, index, inputKey };
  expect(await foretold()).toEqual({ outputs, isAvailable: false });
  expect(await foretold()).toEqual({ outputs, isAvailable: false });
  await adopt();
  expect(await foretold()).toEqual({ outputs, isAvailable: true });
  expect(await foretold()).toEqual({ outputs, isAvailable: true });

  const blob = (await open().store()).blobPath(digest);
  await corrupt(blob);
  expect(await foretold()).toEqual({ outputs, isAvailable: false });
  await rm(blob);
  expect(await foretold()).toEqual({ outputs, isAvailable: false });
  await adopt();
  expect(await foretold()).toEqual({ outputs, isAvailable: true });

  await rm(join(project, ".stagex/store/images"), { recursive: true });
  expect(await foretold()).toEqual({ outputs, isAvailable: false });
  await adopt();
  await record("second", { index: null, platforms: { "linux/amd64": digestOf("another") } });
  expect(await foretold()).toEqual({ outputs: { inputKey }, isAvailable: false });
});

test("a second preview reads the cache and neither records nor documents", async () => {
  const { project, foretold, adopt, digest } = await setUp();
  await adopt();
  await foretold();
  const left = join(project, ".stagex/recollection.json");
  const another = digestOf("another");
  await writeFile(left, (await readFile(left, "utf8")).replaceAll(digest, another));
  expect(await foretold()).toMatchObject({
    outputs: { digest: another, reference: another },
    isAvailable: true,
  });
  await rm(left);
  expect(await foretold()).toMatchObject({ outputs: { digest, reference: digest }, isAvailable: true });
});

test("reads a ledger that was unpacked over the old one with its times", async () => {
  const { project, foretold, record } = await setUp();
  expect(await foretold()).toMatchObject({ outputs: { digest: expect.any(String) } });
  const folder = join(project, ".stagex/ledger", inputKey.slice(0, 2), inputKey);
  const { atime, mtime } = await stat(folder);
  await record("second", { index: null, platforms: { "linux/amd64": digestOf("another") } });
  await utimes(folder, atime, mtime);
  expect((await foretold()).outputs).toEqual({ inputKey });
});
