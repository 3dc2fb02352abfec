import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { gatherEvidence } from "../../../../cli/statements/evidence-options.ts";
import { Ledger, type LedgerRecord } from "../../../../distro/ledger/ledger.ts";
import { inputKeyOfPlan } from "../../../../distro/plan/predict-digests.ts";
import { readTree } from "../../../../distro/tree/tree.ts";
import { pathsOf } from "../../../../lib/paths.ts";
import { parseDigest } from "../../../../oci/digest.ts";
import { facts } from "../../../support/builders/builder-facts.ts";
import { packageFiles, trackedTree, writtenFolder } from "../../../support/builders/written-tree.ts";

test("shows evidence from a ledger, and refuses to sign it", async () => {
  vi.stubEnv("STAGEX_STATE", join(writtenFolder({}), "state"));
  onTestFinished(() => void vi.unstubAllEnvs());
  const tree = trackedTree(packageFiles("core/one"));
  const plan = (await readTree(tree)).images.get("core-one");
  if (plan === undefined) throw new Error("the tree has no core-one");
  const record: LedgerRecord = {
    inputKey: inputKeyOfPlan(plan, {}),
    image: "core-one",
    digests: { index: null, platforms: { "linux/amd64": parseDigest(`sha256:${"1".repeat(64)}`) } },
    builder: { id: "another", facts },
    seconds: 1,
    outcome: "built",
    finished: "2026-01-01T00:00:00Z",
  };
  const { ledger, built } = pathsOf();
  await new Ledger(ledger).append(record);
  const options = { tree, signedAs: "stagex" };
  expect((await gatherEvidence("core-one", options)).evidence.inputKey).toBe(record.inputKey);
  await expect(gatherEvidence("core-one", { ...options, sign: "key" })).rejects.toThrow(/core-one/);
  await expect(gatherEvidence("core-one", { ...options, sign: "key", ledger })).rejects.toThrow(/own builds/);
  await new Ledger(built).append(record);
  await expect(gatherEvidence("core-one", { ...options, sign: "key" })).resolves.toBeDefined();
});
