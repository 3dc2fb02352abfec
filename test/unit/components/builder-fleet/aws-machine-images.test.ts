import { expect, test } from "vitest";
import { pinnedMachineImages } from "../../../../components/builder-fleet/aws-machine-images.ts";

const region = "eu-west-1";

test("returns the pinned images", () => {
  const ami = { amd64: "ami-0a" };
  expect(pinnedMachineImages({ region, ami }, ["amd64"])).toEqual(ami);
});

test("refuses a fleet without a pinned image, with the command that looks it up", () => {
  const both = () => pinnedMachineImages({ region, ami: {} }, ["amd64", "arm64"]);
  expect(both).toThrow(/stagex:aws\.ami\.amd64 and stagex:aws\.ami\.arm64 is not set/);
  expect(both).toThrow(/aws ssm get-parameter --region eu-west-1 .*-x86_64 .*\n.*-arm64 /);
  expect(() => pinnedMachineImages({ region, ami: { amd64: "ami-0a" } }, ["amd64", "arm64"])).toThrow(
    /^stagex:aws\.ami\.arm64 is not set/,
  );
});
