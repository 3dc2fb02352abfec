import { expect, onTestFinished, test } from "vitest";
import { digestOf } from "../../../../../oci/digest.ts";
import { parseConfig } from "../../../../../providers/stagex/config.ts";
import { compareWithPublished, isRefused } from "../../../../../providers/stagex/package/comparison.ts";
import { packageHandler } from "../../../../../providers/stagex/package/handler.ts";
import { type PackageOutputs, packageInputs } from "../../../../../providers/stagex/package/inputs.ts";
import { keyOf } from "../../../../../providers/stagex/package/key.ts";
import { Workshop } from "../../../../../providers/stagex/workshop.ts";
import { scratchFolder } from "../../../../fixtures/scratch-folder.ts";

const [amd64, arm64] = [digestOf("amd64"), digestOf("arm64")];
const inputs = packageInputs.parse({
  ...{ image: "core-hello", version: "1.0", recipe: "core/hello/Containerfile" },
  platforms: ["linux/amd64", "linux/arm64"],
  ...{ containerfile: digestOf("recipe"), context: digestOf("context") },
  ...{ buildArgs: {}, sources: {}, dependencies: {}, expectedDigest: amd64 },
});
const outputs: PackageOutputs = {
  ...{ digest: amd64, digests: { "linux/amd64": amd64, "linux/arm64": arm64 }, index: digestOf("index") },
  ...{ reference: digestOf("index"), inputKey: keyOf(inputs), origin: "built" },
};

test("every platform's digest is held against the published one, and the one that differs is named", async () => {
  const workshop = new Workshop(parseConfig({}), await scratchFolder(), AbortSignal.timeout(60_000));
  onTestFinished(() => workshop.close());
  const compare = (published: Record<string, typeof amd64>) =>
    compareWithPublished(workshop, { ...inputs, expectedDigests: published }, outputs, { report: () => {} });
  await compare({ "linux/arm64": arm64 });
  await compare({});
  const other = digestOf("of somebody else's arm64");
  await expect(compare({ "linux/arm64": other })).rejects.toThrow(
    new RegExp(
      `core-hello: its digest for linux/arm64 is not .* in digests/linux-arm64/core.txt\\n  published: ${other}\\n  got: +${arm64}`,
    ),
  );
});

test("an image of which one further platform is another is refused, and is not as published in a preview", async () => {
  const workshop = new Workshop(parseConfig({}), await scratchFolder(), AbortSignal.timeout(60_000));
  onTestFinished(() => workshop.close());
  const of = (published: typeof amd64) => ({ ...inputs, expectedDigests: { "linux/arm64": published } });
  const wrong = of(digestOf("of somebody else's arm64"));
  expect(await isRefused(workshop, of(arm64), outputs)).toBe(false);
  expect(await isRefused(workshop, wrong, outputs)).toBe(true);
  const texts: Record<string, string> = { image: "core-hello", expectedDigest: amd64, expectedDigests: "" };
  const review = async (held: typeof inputs) =>
    await packageHandler(() => workshop).review?.(
      () => ({ inputs: held, outputs }),
      { report: () => {} },
      (side, name) => (side === "inputs" ? texts[name] : name === "digest" ? amd64 : undefined),
    );
  expect(await review(of(arm64))).toEqual([]);
  expect(await review(wrong)).toEqual([{ path: "expectedDigest", kind: "update", replaces: false }]);
});

test("what the other platforms have is no part of the input key", () => {
  expect(keyOf({ ...inputs, expectedDigests: { "linux/arm64": arm64 } })).toBe(keyOf(inputs));
});
