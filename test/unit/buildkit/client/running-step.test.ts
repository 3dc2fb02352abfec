import { expect, test } from "vitest";
import type { ProgressEvent } from "../../../../buildkit/client/progress.ts";
import { RunningStep } from "../../../../buildkit/client/running-step.ts";

const event = (step: string, status: ProgressEvent["status"], name = "RUN make"): ProgressEvent => ({
  ...{ step, name, status },
  seconds: status === "started" ? 0 : 12,
});

function shown(events: readonly ProgressEvent[]): string[] {
  const step = new RunningStep();
  return events.flatMap((each) => step.take(each) ?? []);
}

test("shows each instruction as it begins, and not again as it ends", () => {
  expect(
    shown([event("build 1/2", "started"), event("build 1/2", "done"), event("build 2/2", "started")]),
  ).toEqual(["[build 1/2] RUN make", "[build 2/2] RUN make"]);
});

test("shows an instruction that starts twice in a row once", () => {
  const twice = [event("build 1/2", "started"), event("build 1/2", "done")];
  expect(shown([...twice, ...twice])).toEqual(["[build 1/2] RUN make"]);
});

test("shows the first instruction of a stage that runs, though later ones are started ahead", () => {
  expect(
    shown([
      event("build 1/5", "started"),
      event("build 4/5", "started", "COPY --from=a"),
      event("build 2/5", "started"),
      event("build 1/5", "done"),
      event("build 2/5", "done"),
    ]),
  ).toEqual(["[build 1/5] RUN make", "[build 2/5] RUN make", "[build 4/5] COPY --from=a"]);
});

test("shows the stage that has run longest, and counts an instruction for each platform", () => {
  expect(
    shown([
      event("build 1/2", "started"),
      event("build 1/2", "started"),
      event("docs 1/1", "started"),
      event("build 1/2", "done"),
      event("build 1/2", "done"),
      event("internal", "started", "[internal] load metadata"),
    ]),
  ).toEqual(["[build 1/2] RUN make", "[docs 1/1] RUN make"]);
});
