import { expect, test } from "vitest";
import { checkConfig, parseConfig } from "../../../config/schema.ts";

const problems = (vault: unknown) =>
  checkConfig({ vault: JSON.stringify(vault) }).map(({ property, reason }) => `${property}: ${reason}`);

test("parses places in their order, each with its defaults", () => {
  const vault = [
    { folder: "vault" },
    { url: "https://vault.test/all", asked: "after" },
    { registry: "registry.test/sources", push: false },
  ];
  expect(parseConfig({ vault: JSON.stringify(vault) }).vault).toEqual([
    { kind: "folder", folder: "vault", asked: "before", push: true },
    { kind: "server", url: "https://vault.test/all", asked: "after" },
    { kind: "registry", repository: "registry.test/sources", asked: "before", push: false },
  ]);
});

test.each([
  [[{}], "vault[0]: expected one of folder, url and registry"],
  [[{ folder: "a", url: "https://a.test" }], "vault[0]: expected one of folder, url and registry"],
  [[{ folder: "https://a.test" }], "vault[0].folder: this is a URL, not a folder"],
  [
    [{ folder: "a" }, { url: "http://a.test" }],
    "vault[1].url: must be https, except on this machine's loopback",
  ],
  [[{ url: "https://ann:s3cret@a.test" }], "vault[0].url: must have no user name or password"],
  [[{ url: "https://a.test/?x" }], "vault[0].url: has a ? or # in it, so no file below it can be asked for"],
  [
    [{ url: "https://a.test", push: true }],
    "vault[0].push: an https server is only read; push to its folder",
  ],
  [[{ registry: "registry.test" }], "vault[0].registry: names no repository (expected host/path)"],
  [
    [{ folder: "a", asked: "first" }],
    'vault[0].asked: expected "before" or "after": before the mirrors or after them',
  ],
])("%j is refused: %s", (vault, problem) => {
  expect(problems(vault)).toContain(problem);
});

test("accepts http for a place on the loopback interface", () => {
  expect(problems([{ url: "http://127.0.0.1:8080/" }])).toEqual([]);
});

test("asks Software Heritage unless it is switched off", () => {
  expect(parseConfig({}).sources.softwareHeritage).toBe(true);
  expect(parseConfig({ sources: '{"httpsOnly":true}' }).sources.softwareHeritage).toBe(true);
  expect(parseConfig({ sources: '{"softwareHeritage":false}' }).sources.softwareHeritage).toBe(false);
});
