import { expect, test } from "vitest";
import { configProblems, parseConfig } from "../../../../providers/stagex/config.ts";

test("lists, flags and numbers are read from the text that Pulumi hands over", () => {
  const config = parseConfig({ tree: "../stagex", images: '["core-*"]', verify: "false", jobs: "3" });
  expect(config).toEqual({
    tree: "../stagex",
    images: ["core-*"],
    verify: false,
    jobs: 3,
    platforms: ["linux/amd64"],
  });
});

test("what is not set has its default", () => {
  expect(parseConfig({})).toEqual({ tree: "examples/seed-tree", platforms: ["linux/amd64"], verify: true });
});

test("every wrong key is named at once, with what was found and what is allowed", () => {
  const wrong = { images: "core-cat", verify: "maybe", jobs: "0", treee: "x" };
  expect(
    configProblems(wrong)
      .map(({ property }) => property)
      .sort(),
  ).toEqual(["images", "jobs", "treee", "verify"]);
  expect(() => parseConfig(wrong)).toThrow(/stagex:verify: found "maybe", expected true or false/);
  expect(() => parseConfig(wrong)).toThrow(
    /stagex:images: found "core-cat", expected a JSON list such as '\["core-\*"\]'/,
  );
  expect(() => parseConfig(wrong)).toThrow(/stagex:treee: no such key.*stagex:tree/);
});

test("what the engine adds of its own is no mistake of the user's", () => {
  expect(configProblems({ version: "0.1.0", tree: "x" })).toEqual([]);
});
