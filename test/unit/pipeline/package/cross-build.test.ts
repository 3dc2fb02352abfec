import { expect, onTestFinished, test } from "vitest";
import { parseConfig } from "../../../../config/schema.ts";
import { inputKeyOf } from "../../../../distro/plan/image-inputs.ts";
import { digestOf } from "../../../../oci/digest.ts";
import { Context } from "../../../../pipeline/context/context.ts";
import { isLikelyBuiltOnEach } from "../../../../pipeline/package/cross-build.ts";
import { packageInputs } from "../../../../pipeline/package/inputs.ts";
import { facts } from "../../../support/builders/builder-facts.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const inputs = packageInputs.parse({
  ...{ image: "core-hello", version: "1.0", recipe: "core/hello/Containerfile", platforms: ["linux/amd64"] },
  ...{ containerfile: digestOf("recipe"), context: digestOf("context") },
  ...{ buildArgs: {}, sources: {}, dependencies: {} },
});

test("takes an image for built on each target once each vendor, or as many builders, have built it", async () => {
  const context = new Context(parseConfig({}), await scratchFolder(), AbortSignal.timeout(60_000));
  onTestFinished(() => context.close());
  const record = async (id: string, cpuVendor: string, outcome: "built" | "mismatch" = "built") =>
    await context.ledger.append({
      ...{ inputKey: inputKeyOf(inputs), image: "core-hello", seconds: 1, outcome },
      digests: { index: null, platforms: { "linux/amd64": digestOf("image") } },
      builder: { id, facts: { ...facts, cpuVendor } },
      finished: "2026-03-01T10:20:30.456Z",
    });
  const isWitnessed = async (...targets: string[]) =>
    await isLikelyBuiltOnEach(context.trustedLedger, inputKeyOf(inputs), targets);
  expect(await isWitnessed("AuthenticAMD")).toBe(false);
  await record("first", "AuthenticAMD");
  expect(await isWitnessed("authenticamd")).toBe(true);
  expect(await isWitnessed("AuthenticAMD", "GenuineIntel")).toBe(false);
  expect(await isWitnessed("left", "right")).toBe(false);
  await record("second", "GenuineIntel", "mismatch");
  expect(await isWitnessed("AuthenticAMD", "GenuineIntel")).toBe(false);
  await record("third", "GenuineIntel");
  expect(await isWitnessed("AuthenticAMD", "GenuineIntel")).toBe(true);
  expect(await isWitnessed("left", "right")).toBe(true);
});
