import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Key, revokeKey } from "openpgp";
import { expect, onTestFinished, test } from "vitest";
import { parseConfig } from "../../../../config/schema.ts";
import { inputKeyOf } from "../../../../distro/plan/image-inputs.ts";
import { digestOf } from "../../../../oci/digest.ts";
import { Context } from "../../../../pipeline/context/context.ts";
import type { Operation } from "../../../../pipeline/operation.ts";
import { packageInputs, withInputKey } from "../../../../pipeline/package/inputs.ts";
import { mayKeepOutputs, recordAtQuorum } from "../../../../pipeline/package/quorum-records.ts";
import { packageHandler } from "../../../../providers/stagex/resources/package/handler.ts";
import { parseRepository } from "../../../../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../../../../trust/signatures/lookaside-folder.ts";
import { maintainersOf, newKey, payload, signedBy } from "../../../support/builders/maintainers.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";
import { packageFiles, trackedTree } from "../../../support/builders/written-tree.ts";

const inputs = packageInputs.parse({
  ...{ image: "core-hello", version: "1.0", recipe: "core/hello/Containerfile", platforms: ["linux/amd64"] },
  ...{ containerfile: digestOf("recipe"), context: digestOf("context") },
  ...{ buildArgs: {}, sources: {}, dependencies: {} },
});
const digest = digestOf("hello");
const outputs = {
  ...{ digest, digests: { "linux/amd64": digest }, index: digestOf("index"), reference: digest },
  ...{ inputKey: inputKeyOf(inputs), origin: "substituted" as const },
};

/** A project with an image that one of two people has signed. */
async function setUp() {
  const project = await scratchFolder();
  const tree = trackedTree(packageFiles("core/hello", { toml: 'version = "1.0"\n' }));
  const [alice, bob] = [await newKey("alice"), await newKey("bob")];
  const write = (name: string, keys: readonly Key[]) =>
    writeFileSync(join(project, name), Buffer.concat(keys.map((key) => key.toPublic().write())));
  write("keys.gpg", [alice, bob]);
  writeFileSync(
    join(project, "MAINTAINERS"),
    maintainersOf({ alice: { keys: [alice] }, bob: { keys: [bob] } }),
  );
  mkdirSync(join(project, "signatures"));
  const lookaside = new LookasideFolder(join(project, "signatures"));
  const sign = async (key: typeof alice) =>
    await lookaside.write(
      parseRepository("stagex/core-hello"),
      digest,
      await signedBy(key, payload({ reference: "stagex/core-hello:1.0", manifest: digest })),
    );
  await sign(alice);
  const open = (settings: Record<string, string> = {}) => {
    const paths = { maintainers: "MAINTAINERS", keys: "keys.gpg", signatures: "signatures", tree };
    const rule = { substituteTrust: "quorum", threshold: "1", vendors: "0" };
    const context = new Context(
      parseConfig({ ...paths, ...rule, ...settings }),
      project,
      AbortSignal.timeout(60_000),
    );
    onTestFinished(() => context.close());
    return context;
  };
  return { alice, bob, write, sign, open };
}

test("keeps an image at quorum while roster, keys and rule stay the same", async () => {
  const { open } = await setUp();
  expect(await mayKeepOutputs(open(), inputs, outputs)).toBe(false);
  await recordAtQuorum(open(), withInputKey(inputs), outputs);
  expect(await mayKeepOutputs(open(), inputs, outputs)).toBe(true);
});

test("judges an image again after a key is revoked, and drops it below quorum", async () => {
  const { alice, bob, write, sign, open } = await setUp();
  await recordAtQuorum(open(), withInputKey(inputs), outputs);
  const { publicKey: revoked } = await revokeKey({ key: alice, format: "object" });
  write("keys.gpg", [revoked, bob]);
  expect(await mayKeepOutputs(open(), inputs, outputs)).toBe(false);
  await sign(bob);
  expect(await mayKeepOutputs(open(), inputs, outputs)).toBe(true);
});

test("judges an image again after the threshold is raised", async () => {
  const { open } = await setUp();
  await recordAtQuorum(open(), withInputKey(inputs), outputs);
  expect(await mayKeepOutputs(open({ threshold: "2" }), inputs, outputs)).toBe(false);
});

test("drops an image with a platform that was not asked for", async () => {
  const { open } = await setUp();
  const digests = { ...outputs.digests, "linux/arm64": digestOf("foreign") };
  await recordAtQuorum(open(), withInputKey(inputs), { ...outputs, digests });
  expect(await mayKeepOutputs(open(), inputs, { ...outputs, digests })).toBe(false);
});

test("drops an unreadable state under quorum", async () => {
  const { open } = await setUp();
  const said: string[] = [];
  const work = { report: (_: string, words: string) => said.push(words) } as unknown as Operation;
  const review = async (trust: string) =>
    await packageHandler(() => open({ substituteTrust: trust })).review?.(
      () => undefined,
      work,
      () => undefined,
    );
  expect(await review("ledger")).toEqual([]);
  expect(await review("quorum")).toEqual([{ path: "origin", kind: "update", replaces: false }]);
  expect(said).toEqual([expect.stringContaining("its state cannot be read")]);
});
