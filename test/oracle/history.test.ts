import { expect, test } from "vitest";
import { predict, readRelease, releaseNames } from "./prediction.ts";

// Needs a clone of StageX with its tags, so vitest.config.ts includes it only for
// STAGEX_TREE=DIR npm test
test("plan predicts every changed digest in a year of StageX's history, and no image without a reason", {
  timeout: 120_000,
}, async () => {
  const checkout = process.env.STAGEX_TREE ?? "";
  const [first = "", ...names] = releaseNames(checkout);
  expect(names.length).toBeGreaterThan(0);
  let older = await readRelease(checkout, first);
  for (const name of names) {
    const newer = await readRelease(checkout, name);
    expect(await predict(older, newer), name).toMatchObject({ missed: [], wrong: [], uncertain: 0 });
    older = newer;
  }
});
