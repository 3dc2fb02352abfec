import { expect, onTestFinished, test } from "vitest";
import { parseConfig } from "../../../../config/schema.ts";
import { inputKeyOf, inputsOfPlan } from "../../../../distro/plan/image-inputs.ts";
import { type Digest, digestOf, hexOf } from "../../../../oci/digest.ts";
import { Context } from "../../../../pipeline/context/context.ts";
import { checkExpectedDigest, isDigestMismatch } from "../../../../pipeline/package/check-expected-digest.ts";
import {
  type PackageInputs,
  type PackageOutputs,
  packageInputs,
} from "../../../../pipeline/package/inputs.ts";
import { packageHandler } from "../../../../providers/stagex/resources/package/handler.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";
import { TreeHistory } from "../../../support/builders/tree-history.ts";
import { packageFiles } from "../../../support/builders/written-tree.ts";

const [amd64, arm64] = [digestOf("amd64"), digestOf("arm64")];
const inputs = packageInputs.parse({
  ...{ image: "core-hello", version: "1.0", recipe: "core/hello/Containerfile" },
  platforms: ["linux/amd64", "linux/arm64"],
  ...{ containerfile: digestOf("recipe"), context: digestOf("context") },
  ...{ buildArgs: {}, sources: {}, dependencies: {}, expectedDigest: amd64 },
});
const outputs: PackageOutputs = {
  ...{ digest: amd64, digests: { "linux/amd64": amd64, "linux/arm64": arm64 }, index: digestOf("index") },
  ...{ reference: digestOf("index"), inputKey: inputKeyOf(inputs), origin: "built" },
};

test("compares every platform with its published digest and names the mismatch", async () => {
  const context = new Context(parseConfig({}), await scratchFolder(), AbortSignal.timeout(60_000));
  onTestFinished(() => context.close());
  const compare = (published: Record<string, typeof amd64>) =>
    checkExpectedDigest(context, { ...inputs, expectedDigests: published }, outputs, { report: () => {} });
  await compare({ "linux/arm64": arm64 });
  await compare({});
  const other = digestOf("of somebody else's arm64");
  await expect(compare({ "linux/arm64": other })).rejects.toThrow(
    new RegExp(
      `core-hello: its digest for linux/arm64 is not .* in digests/linux-arm64/core.txt\\n  published: ${other}\\n  got: +${arm64}`,
    ),
  );
});

test("rejects an image with a mismatch on a further platform, in a run and in a preview", async () => {
  const context = new Context(parseConfig({}), await scratchFolder(), AbortSignal.timeout(60_000));
  onTestFinished(() => context.close());
  const of = (published: typeof amd64) => ({ ...inputs, expectedDigests: { "linux/arm64": published } });
  const wrong = of(digestOf("of somebody else's arm64"));
  expect(await isDigestMismatch(context, of(arm64), outputs)).toBe(false);
  expect(await isDigestMismatch(context, wrong, outputs)).toBe(true);
  const texts: Record<string, string> = { image: "core-hello", expectedDigest: amd64, expectedDigests: "" };
  const review = async (held: typeof inputs) =>
    await packageHandler(() => context).review?.(
      () => ({ inputs: held, outputs }),
      { report: () => {} },
      (side, name) => (side === "inputs" ? texts[name] : name === "digest" ? amd64 : undefined),
    );
  expect(await review(of(arm64))).toEqual([]);
  expect(await review(wrong)).toEqual([{ path: "expectedDigest", kind: "update", replaces: false }]);
});

test("rejects an index other than the published one with equal manifests", async () => {
  const context = new Context(parseConfig({}), await scratchFolder(), AbortSignal.timeout(60_000));
  onTestFinished(() => context.close());
  const of = (expectedIndex: Digest) => ({ ...inputs, expectedIndex });
  expect(await isDigestMismatch(context, of(outputs.index), outputs)).toBe(false);
  const other = digestOf("another index");
  await expect(checkExpectedDigest(context, of(other), outputs, { report: () => {} })).rejects.toThrow(
    new RegExp(
      `core-hello: its digest of the index is not .* digests/index/core.txt\\n  published: ${other}\\n  got: +${outputs.index}`,
    ),
  );
  const { index: _, ...unknown } = outputs;
  expect(await isDigestMismatch(context, of(other), unknown)).toBe(false);
});

test("with verify false requires the digest of unchanged inputs, not of undecided ones", async () => {
  const history = new TreeHistory();
  const line = (digest: Digest) => `${hexOf(digest)} core-hello\n`;
  const published = { "digests/core.txt": line(amd64), "digests/linux-arm64/core.txt": line(arm64) };
  history.commit({ ...packageFiles("core/hello"), ...published });
  const platforms = '["linux/amd64","linux/arm64"]';
  const expected = { expectedDigest: amd64, expectedDigests: { "linux/arm64": arm64 } };
  const other = { ...outputs, digests: { ...outputs.digests, "linux/arm64": digestOf("a liar's") } };
  const refused = async (verify: string) => {
    const config = parseConfig({ tree: history.root, platforms, verify });
    const context = new Context(config, await scratchFolder(), AbortSignal.timeout(60_000));
    onTestFinished(() => context.close());
    const plan = (await context.tree()).images.get("core-hello");
    if (plan === undefined) throw new Error("the tree has no core-hello");
    return await isDigestMismatch(context, { ...inputsOfPlan(plan), dependencies: {}, ...expected }, other);
  };
  const all = async () => [await refused("release"), await refused("false"), await refused("all")];
  expect(await all()).toEqual([true, true, true]);
  history.write({ "digests/linux-arm64/core.txt": line(digestOf("another")) });
  expect(await all()).toEqual([true, false, true]);
  const elsewhere = { "digests/linux-riscv64/core.txt": line(digestOf("for no platform of its")) };
  history.write({ ...published, ...elsewhere });
  expect(await all()).toEqual([true, true, true]);
  history.write({
    ...published,
    ...packageFiles("core/hello", { containerfile: "FROM scratch\nLABEL a=1\n" }),
  });
  expect(await all()).toEqual([false, false, true]);
});

test("expected digests are no part of the input key", () => {
  const withExpectation: PackageInputs = { ...inputs, expectedDigests: { "linux/arm64": arm64 } };
  expect(inputKeyOf(withExpectation)).toBe(inputKeyOf(inputs));
});
