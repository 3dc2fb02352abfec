import { expect, test } from "vitest";
import { checkPlatforms } from "../../../../cli/doctor/machine.ts";

test("an x86 machine runs all that the bootstrap runs", async () => {
  expect(await checkPlatforms("x64")).toMatchObject({ verdict: "ok", mend: null });
});

test("an Arm machine is told what it can't build, and how to list that", async () => {
  expect(await checkPlatforms("arm64")).toMatchObject({
    verdict: "lacks",
    found: expect.stringMatching(/^linux\/arm64.*no linux\/386/),
    mend: expect.stringContaining("stagex show --all --on linux/arm64"),
  });
});
