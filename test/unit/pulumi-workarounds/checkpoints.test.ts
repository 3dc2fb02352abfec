import { expect, test } from "vitest";
import { parseConfig } from "../../../config/schema.ts";
import { checkpointEnvironment } from "../../../pulumi-workarounds/checkpoints.ts";

const skipped = { PULUMI_SKIP_CHECKPOINTS: "true" };

test("writes the state once if a stack has packages alone", () => {
  expect(checkpointEnvironment(parseConfig({}))).toEqual(skipped);
  expect(checkpointEnvironment(parseConfig({ images: '["core-*"]', jobs: "3" }))).toEqual(skipped);
});

test.for([
  ["aws", JSON.stringify({ ami: { amd64: "ami-0123456789abcdef0" } })],
  ["builders", '[{"name":"west","address":"tcp://127.0.0.1:1234"}]'],
  ["localBuilders", "2"],
  ["attest", "ash"],
] as const)(
  "keeps the engine's checkpoints with stagex:%s, whose resources are in the state alone",
  ([key, value]) => {
    expect(checkpointEnvironment(parseConfig({ [key]: value }))).toEqual({});
  },
);
