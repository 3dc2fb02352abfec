import { expect, onTestFinished, test, vi } from "vitest";
import { findRecordedFetches } from "../../cli/fetch/recorded-fetches.ts";
import { inputKeyOfPlan } from "../../distro/plan/predict-digests.ts";
import { readTree } from "../../distro/tree/tree.ts";
import { pathsOf } from "../../lib/paths.ts";
import { FetchRecordStore } from "../../sources/recording/fetch-record-store.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";
import { packageFiles, someHash, trackedTree } from "../support/builders/written-tree.ts";

test("takes mirrors from fetch records of own builds alone", async () => {
  vi.stubEnv("STAGEX_STATE", await scratchFolder());
  onTestFinished(() => void vi.unstubAllEnvs());
  const containerfile = "FROM scratch\nRUN go mod download\n";
  const tree = await readTree(trackedTree(packageFiles("user/tool", { containerfile })));
  const plans = [...tree.images.values()];
  const [plan] = plans;
  if (plan === undefined) throw new Error("the tree has no image");
  const url = "http://169.254.169.254/latest/meta-data";
  const record = {
    inputKey: inputKeyOfPlan(plan, {}),
    image: plan.name,
    answers: [{ method: "GET" as const, url, status: 200, headers: {}, sha256: someHash, size: 3 }],
  };
  expect(await findRecordedFetches(tree, plans)).toEqual({ wanted: [], unrecorded: ["user-tool"] });
  await new FetchRecordStore(pathsOf().ledger).write(record);
  const found = { name: url, file: "meta-data", sha256: someHash, images: ["user-tool"], archives: [] };
  expect(await findRecordedFetches(tree, plans)).toEqual({
    wanted: [{ ...found, mirrors: [] }],
    unrecorded: [],
  });
  await new FetchRecordStore(pathsOf().built).write(record);
  expect((await findRecordedFetches(tree, plans)).wanted).toEqual([{ ...found, mirrors: [url] }]);
});
