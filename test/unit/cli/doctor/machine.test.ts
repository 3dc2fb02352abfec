import { expect, test } from "vitest";
import { checkPlatforms } from "../../../../cli/doctor/machine.ts";

test("passes an x86 machine, which runs the whole bootstrap", async () => {
  expect(await checkPlatforms("x64")).toMatchObject({ verdict: "ok", mend: null });
});

test("reports on an Arm machine that it lacks linux/386, and the command that lists the images", async () => {
  expect(await checkPlatforms("arm64")).toMatchObject({
    verdict: "lacks",
    found: expect.stringMatching(/^linux\/arm64.*no linux\/386/),
    mend: expect.stringContaining("stagex show --all --on linux/arm64"),
  });
});
