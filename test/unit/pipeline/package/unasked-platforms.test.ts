import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { parseConfig } from "../../../../config/schema.ts";
import { inputKeyOf } from "../../../../distro/plan/image-inputs.ts";
import { digestOf } from "../../../../oci/digest.ts";
import { LayoutError } from "../../../../oci/layout-error.ts";
import { Context } from "../../../../pipeline/context/context.ts";
import type { Operation } from "../../../../pipeline/operation.ts";
import { packageInputs, withInputKey } from "../../../../pipeline/package/inputs.ts";
import { lookUpDigests, lookUpLedger } from "../../../../pipeline/package/ledger-lookup.ts";
import { substituteImage } from "../../../../pipeline/package/substitute.ts";
import { writeLayout } from "../../../support/builders/image-layout.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const inputs = packageInputs.parse({
  ...{ image: "core-hello", version: "1.0", recipe: "core/hello/Containerfile", platforms: ["linux/amd64"] },
  ...{ containerfile: digestOf("recipe"), context: digestOf("context") },
  ...{ buildArgs: {}, sources: {}, dependencies: {} },
});

const hello = { layers: [[{ name: "bin/hello", content: "hello" }]] };
const foreign = { layers: [[{ name: "bin/hello", content: "foreign" }]] };

const work: Operation = {
  signal: AbortSignal.timeout(60_000),
  report: () => {},
  progress: () => {},
} as unknown as Operation;

/** A context, the right image, and one whose index has a foreign manifest beside the right one. */
async function setUp() {
  const project = await scratchFolder();
  const right = await writeLayout(join(project, "right"), { platforms: { "linux/amd64": hello } });
  const wide = await writeLayout(join(project, "wide"), {
    platforms: { "linux/amd64": hello, "linux/arm64": foreign },
  });
  const [digest = digestOf("")] = right.manifests;
  expect(wide.manifests[0]).toBe(digest);
  const context = new Context(parseConfig({}), project, AbortSignal.timeout(60_000));
  onTestFinished(() => context.close());
  const record = (
    index: typeof digest | null,
    platforms: Record<string, typeof digest>,
    inputKey = inputKeyOf(inputs),
  ) =>
    context.ledger.append({
      ...{ inputKey, image: "core-hello", seconds: 1, outcome: "built" },
      ...{ finished: "2026-03-01T10:20:30.456Z", builder: { id: "somebody", facts: null } },
      digests: { index, platforms },
    });
  return { context, store: await context.store(), right, wide, digest, record };
}

test("does not find an image with more platforms than asked for by one of its manifests", async () => {
  const { context, store, right, wide, digest, record } = await setUp();
  await store.adopt(wide.folder);
  await record(null, { "linux/amd64": digest });
  expect(await store.find(digest, ["linux/amd64"])).toBeNull();
  expect(await lookUpLedger(context, withInputKey(inputs), work)).toBeUndefined();
  await store.adopt(right.folder);
  expect(await lookUpLedger(context, withInputKey(inputs), work)).toMatchObject({
    digests: { "linux/amd64": digest },
    index: right.index,
  });
});

test("ignores a record whose index has more platforms than asked for", async () => {
  const { context, store, wide, digest, record } = await setUp();
  await store.adopt(wide.folder);
  const [, other = digestOf("")] = wide.manifests;
  await record(wide.index, { "linux/amd64": digest, "linux/arm64": other });
  expect(await lookUpLedger(context, withInputKey(inputs), work)).toBeUndefined();
  const said = await lookUpDigests(context.ledger, inputKeyOf(inputs), inputs.platforms);
  expect(said?.digests).toEqual({ "linux/amd64": digest });
});

test("does not store platforms that the builder was not asked for", async () => {
  const { store, wide, digest } = await setUp();
  await expect(store.adopt(wide.folder, { platforms: ["linux/amd64"] })).rejects.toThrow(LayoutError);
  await expect(store.adopt(wide.folder, { platforms: ["linux/amd64"] })).rejects.toThrow(
    "is for linux/amd64, linux/arm64, but was asked for linux/amd64, and no other",
  );
  expect(await store.find(digest)).toBeNull();
});

test("does not take a trusted manifest from an index with more platforms than asked for", async () => {
  const { context, store, right, wide, digest, record } = await setUp();
  vi.spyOn(context, "mayBeSubstituted").mockResolvedValue(true);
  await store.adopt(wide.folder);
  await record(null, { "linux/amd64": digest });
  expect(await substituteImage(context, withInputKey(inputs), work)).toBeUndefined();
  await store.adopt(right.folder);
  expect(await substituteImage(context, withInputKey(inputs), work)).toMatchObject({
    digests: { "linux/amd64": digest },
    index: right.index,
  });
});

test("does not take an index with an untrusted manifest of any platform", async () => {
  const { context, store, wide, digest, record } = await setUp();
  vi.spyOn(context, "mayBeSubstituted").mockResolvedValue(true);
  const both = { ...inputs, platforms: ["linux/amd64", "linux/arm64"] };
  const said: string[] = [];
  const telling = { ...work, report: (_: string, words: string) => said.push(words) } as unknown as Operation;
  await store.adopt(wide.folder);
  const [, other = digestOf("")] = wide.manifests;
  const trusted = { "linux/amd64": digest, "linux/arm64": digestOf("what was signed") };
  await record(wide.index, trusted, inputKeyOf(both));
  expect(await substituteImage(context, withInputKey(both), telling)).toBeUndefined();
  expect(said).toEqual([expect.stringContaining(`has ${other} for linux/arm64`)]);
});
