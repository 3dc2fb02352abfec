import { availableParallelism } from "node:os";
import { expect, test } from "vitest";
import { parallelismEnvironment } from "../../../../cli/engine/engine-parallelism.ts";
import { parseConfig } from "../../../../config/schema.ts";

const parallel = (settings: Record<string, string>, given: NodeJS.ProcessEnv = {}) =>
  parallelismEnvironment(parseConfig(settings), given);

test("sets eight times the slots of a fleet", () => {
  const builders = { intel: 20, amd: 10 };
  const aws = JSON.stringify({ size: "large", builders });
  expect(parallel({ aws })).toEqual({ PULUMI_PARALLEL: String(8 * 8 * 30) });
  // Each image is built on both vendors, and the ten of one hold the others up.
  const reproduceOn = '["GenuineIntel","AuthenticAMD"]';
  expect(parallel({ aws, reproduceOn })).toEqual({ PULUMI_PARALLEL: String(8 * 8 * 10) });
});

test("sets at least the engine's default for a single slot", () => {
  expect(parallel({ jobs: "1" })).toEqual({
    PULUMI_PARALLEL: String(Math.max(8, 4 * availableParallelism())),
  });
});

test("keeps the user's setting", () => {
  expect(parallel({ jobs: "100" }, { PULUMI_PARALLEL: "3" })).toEqual({});
});
