import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { parseConfig } from "../../../../config/schema.ts";
import { inputsOfPlan } from "../../../../distro/plan/image-inputs.ts";
import { digestOf, hexOf } from "../../../../oci/digest.ts";
import { Context } from "../../../../pipeline/context/context.ts";
import { packageInputs, withInputKey } from "../../../../pipeline/package/inputs.ts";
import { findTrustedDigests } from "../../../../pipeline/package/trusted-digests.ts";
import { parseRepository } from "../../../../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../../../../trust/signatures/lookaside-folder.ts";
import { maintainersOf, newKey, payload, signedBy } from "../../../support/builders/maintainers.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";
import { git, packageFiles, trackedTree } from "../../../support/builders/written-tree.ts";

const [amd64, arm64, index] = ["amd64", "arm64", "index"].map((word) => digestOf(word));
const digestsFile = (digest: typeof amd64) => `${hexOf(digest ?? digestOf(""))} core-hello\n`;
const published = {
  "digests/core.txt": digestsFile(amd64),
  "digests/linux-arm64/core.txt": digestsFile(arm64),
  "digests/index/core.txt": digestsFile(index),
};

/** A tree with an image for two platforms and these files, and somebody whose signature is enough. */
async function setUp(files: Readonly<Record<string, string>>) {
  const project = await scratchFolder();
  const tree = trackedTree({ ...packageFiles("core/hello"), ...files });
  git(tree, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "Publish");
  const alice = await newKey("alice");
  writeFileSync(join(project, "keys.gpg"), alice.toPublic().write());
  writeFileSync(join(project, "MAINTAINERS"), maintainersOf({ alice: { keys: [alice] } }));
  mkdirSync(join(project, "signatures"));
  const lookaside = new LookasideFolder(join(project, "signatures"));
  const sign = async (digest = digestOf("")) =>
    await lookaside.write(
      parseRepository("stagex/core-hello"),
      digest,
      await signedBy(alice, payload({ reference: "stagex/core-hello:1.0", manifest: digest })),
    );
  const settings = {
    ...{ tree, maintainers: "MAINTAINERS", keys: "keys.gpg", signatures: "signatures" },
    ...{ platforms: '["linux/amd64","linux/arm64"]', threshold: "1", vendors: "0" },
  };
  const trusted = async (trust: string) => {
    const context = new Context(
      parseConfig({ ...settings, substituteTrust: trust }),
      project,
      AbortSignal.timeout(60_000),
    );
    onTestFinished(() => context.close());
    const plan = (await context.tree()).images.get("core-hello");
    if (!plan) throw new Error("the tree has no core-hello");
    return await findTrustedDigests(
      context,
      withInputKey(packageInputs.parse({ ...inputsOfPlan(plan), dependencies: {} })),
    );
  };
  return { sign, trusted };
}

const both = { "linux/amd64": amd64, "linux/arm64": arm64 };

test("a quorum on one platform's manifest does not count for another platform", async () => {
  const { sign, trusted } = await setUp(published);
  await sign(amd64);
  expect(await trusted("quorum")).toEqual({ doubt: expect.stringContaining(`${arm64} is below quorum`) });
  await sign(arm64);
  expect(await trusted("quorum")).toEqual({
    digests: { digest: amd64, digests: both, reference: index, index },
  });
});

test("trusts published digests of several platforms only with all of them and their index", async () => {
  expect(await (await setUp(published)).trusted("release")).toMatchObject({ digests: { digests: both } });
  for (const missing of ["digests/linux-arm64/core.txt", "digests/index/core.txt"] as const) {
    const { [missing]: _, ...files } = published;
    expect(await (await setUp(files)).trusted("release")).toEqual({});
  }
});
