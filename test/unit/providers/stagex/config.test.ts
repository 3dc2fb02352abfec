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
    trust: "ledger",
  });
});

test("what is not set has its default", () => {
  expect(parseConfig({})).toEqual({
    tree: "examples/seed-tree",
    platforms: ["linux/amd64"],
    verify: true,
    trust: "ledger",
  });
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

test("a registry is one or a list, and every address is looked at", () => {
  const registry = (text: string) => parseConfig({ registry: text }).registry;
  expect(registry("docker.io/stagex")).toEqual(["docker.io/stagex"]);
  expect(registry('["127.0.0.1:5000", "docker.io/stagex"]')).toEqual(["127.0.0.1:5000", "docker.io/stagex"]);
  expect(() => registry("https://docker.io/stagex")).toThrow(/stagex:registry: not a registry: "https:/);
  expect(() => registry('["docker.io/stagex", "10.0.0.1:5000"]')).toThrow(/stagex:registry: .*clear text/);
  expect(() => registry("[]")).toThrow(/stagex:registry: not a registry/);
});

test("substitution needs a registry, and trust is the ledger's or a release's", () => {
  expect(() => parseConfig({ substitute: '["*"]' })).toThrow(/stagex:registry: is not set, but/);
  const registry = "docker.io/stagex";
  expect(parseConfig({ substitute: '["*"]', registry, trust: "release" }).trust).toBe("release");
  expect(() => parseConfig({ trust: "anybody" })).toThrow(/stagex:trust: expected "ledger" or "release"/);
});
