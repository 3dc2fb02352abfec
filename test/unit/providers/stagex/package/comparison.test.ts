import { expect, onTestFinished, test } from "vitest";
import { digestOf } from "../../../../../oci/digest.ts";
import { parseConfig } from "../../../../../providers/stagex/config.ts";
import { compareWithPublished } from "../../../../../providers/stagex/package/comparison.ts";
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

test("what the other platforms have is no part of the input key", () => {
  expect(keyOf({ ...inputs, expectedDigests: { "linux/arm64": arm64 } })).toBe(keyOf(inputs));
});
