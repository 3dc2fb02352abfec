import { expect, test } from "vitest";
import { renamedKeys, renamedKeysWarning } from "../../../config/renamed-keys.ts";
import { checkConfig, configShape, parseConfig } from "../../../config/schema.ts";

const old = {
  registry: "docker.io/stagex",
  trust: "quorum",
  publish: "quay.io/stagex",
  exchange: "registry.example/fleet",
  lookaside: "public",
};

test("accepts each key under its old name", () => {
  expect([...renamedKeys.keys()].sort()).toEqual(Object.keys(old).sort());
  expect(parseConfig(old)).toMatchObject({
    substituteFrom: ["docker.io/stagex"],
    substituteTrust: "quorum",
    publishTo: ["quay.io/stagex"],
    fleetRegistry: "registry.example/fleet",
    publishSignaturesTo: "public",
  });
});

test("maps old names, which are no keys, to names that are", () => {
  expect([...renamedKeys.values()].filter((name) => !(name in configShape))).toEqual([]);
  expect([...renamedKeys.keys()].filter((name) => name in configShape)).toEqual([]);
});

test("refuses a key that is set under both names", () => {
  expect(checkConfig({ ...old, publishTo: "quay.io/stagex" })).toEqual([
    {
      property: "publish",
      reason:
        "is the old name of stagex:publishTo, and both are set; remove it: pulumi config rm stagex:publish",
    },
  ]);
});

test("reports a wrong value under the name that it was given", () => {
  expect(checkConfig({ trust: "anybody" })).toMatchObject([{ property: "trust" }]);
  expect(checkConfig({ substituteTrust: "anybody" })).toMatchObject([{ property: "substituteTrust" }]);
});

test("warns once for all old names, with each new name and its commands, and quotes no value", () => {
  const warning = renamedKeysWarning(old) ?? "";
  expect(warning.split("\n")).toHaveLength(1 + Object.keys(old).length);
  for (const [key, name] of renamedKeys) {
    expect(warning).toContain(`stagex:${key} is now stagex:${name}`);
    expect(warning).toContain(
      `pulumi config set stagex:${name} "$(pulumi config get stagex:${key})" && pulumi config rm stagex:${key}`,
    );
  }
  expect(warning).not.toMatch(/docker\.io|public/);
});

test("names the stack in the commands if one is given", () => {
  expect(renamedKeysWarning({ trust: "quorum" }, "west")).toContain(
    'pulumi config set stagex:substituteTrust "$(pulumi config get stagex:trust --stack west)" --stack west && pulumi config rm stagex:trust --stack west',
  );
});

test("refuses a key with the name of an object's member", () => {
  expect(checkConfig({ constructor: "x" })).toMatchObject([{ property: "constructor" }]);
});

test("returns no warning for the new names", () => {
  expect(renamedKeysWarning({ substituteTrust: "quorum", images: '["core-*"]' })).toBeUndefined();
});
