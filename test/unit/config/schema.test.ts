import { expect, test } from "vitest";
import { checkConfig, parseConfig } from "../../../config/schema.ts";

/** What has a default. */
const defaults = {
  tree: "examples/seed-tree",
  platforms: ["linux/amd64"],
  verify: "release",
  sources: { httpsOnly: false, softwareHeritage: true },
  network: { mode: "record", private: [], fetchers: {} },
  cache: true,
  substituteTrust: "ledger",
  signedAs: "stagex",
  threshold: 2,
  vendors: 2,
  onPending: "fail",
  wait: 60,
  attach: ["provenance", "sbom"],
  stall: 90,
};

test("parses lists, flags and numbers from Pulumi's text", () => {
  const config = parseConfig({ tree: "../stagex", images: '["core-*"]', verify: "false", jobs: "3" });
  expect(config).toEqual({
    ...defaults,
    tree: "../stagex",
    images: ["core-*"],
    verify: false,
    jobs: 3,
  });
});

test("returns the default of a key that is not set", () => {
  expect(parseConfig({})).toEqual(defaults);
});

test("names every wrong key at once, with the found and the allowed values", () => {
  const wrong = { images: "core-cat", verify: "maybe", jobs: "0", treee: "x" };
  expect(
    checkConfig(wrong)
      .map(({ property }) => property)
      .sort(),
  ).toEqual(["images", "jobs", "treee", "verify"]);
  expect(() => parseConfig(wrong)).toThrow(
    /stagex:verify: found "maybe", expected "release", "all" or false/,
  );
  expect(() => parseConfig(wrong)).toThrow(
    /stagex:images: found "core-cat", expected a JSON list such as '\["core-\*"\]'/,
  );
  expect(() => parseConfig(wrong)).toThrow(/stagex:treee: no such key.*stagex:tree/);
});

test("accepts the keys that the engine adds", () => {
  expect(checkConfig({ version: "0.1.0", tree: "x" })).toEqual([]);
});

test("parses one registry or a list, and checks every address", () => {
  const registry = (text: string) => parseConfig({ substituteFrom: text }).substituteFrom;
  expect(registry("docker.io/stagex")).toEqual(["docker.io/stagex"]);
  expect(registry('["127.0.0.1:5000", "docker.io/stagex"]')).toEqual(["127.0.0.1:5000", "docker.io/stagex"]);
  expect(() => registry("https://docker.io/stagex")).toThrow(
    /stagex:substituteFrom: not a registry: "https:/,
  );
  expect(() => registry('["docker.io/stagex", "10.0.0.1:5000"]')).toThrow(
    /stagex:substituteFrom: .*clear text/,
  );
  expect(() => registry("[]")).toThrow(/stagex:substituteFrom: not a registry/);
});

test("accepts one fleet registry, none by default", () => {
  expect(parseConfig({}).fleetRegistry).toBeUndefined();
  expect(parseConfig({ fleetRegistry: "127.0.0.1:5000/fleet" }).fleetRegistry).toBe("127.0.0.1:5000/fleet");
  expect(() => parseConfig({ fleetRegistry: '["docker.io/fleet"]' })).toThrow(
    /stagex:fleetRegistry: not a registry/,
  );
  expect(() => parseConfig({ fleetRegistry: "user:secret@registry.example/fleet" })).toThrow(
    /stagex:fleetRegistry: not a registry: there is an @ in it/,
  );
});

test("requires a registry to substitute from, and accepts three kinds of trust", () => {
  expect(() => parseConfig({ substitute: '["*"]' })).toThrow(/stagex:substituteFrom: is not set, but/);
  const substituteFrom = "docker.io/stagex";
  expect(
    parseConfig({ substitute: '["*"]', substituteFrom, substituteTrust: "release" }).substituteTrust,
  ).toBe("release");
  expect(() => parseConfig({ substituteTrust: "anybody" })).toThrow(
    /stagex:substituteTrust: expected "ledger", "release" or "quorum"/,
  );
});

test("requires at least one person for a quorum, and accepts 0 CPU vendors", () => {
  expect(parseConfig({ threshold: "3", vendors: "0", onPending: "defer" })).toMatchObject({
    threshold: 3,
    vendors: 0,
    onPending: "defer",
  });
  expect(() => parseConfig({ threshold: "0" })).toThrow(
    /stagex:threshold: found "0", expected a whole number/,
  );
  expect(() => parseConfig({ onPending: "publish" })).toThrow(/stagex:onPending: expected "fail", "wait"/);
});

test("accepts only the beginning of a repository name for `signedAs`", () => {
  expect(parseConfig({ signedAs: "registry.example:5000/stagex" }).signedAs).toBe(
    "registry.example:5000/stagex",
  );
  for (const wrong of ["", "Stage X", "stagex/", "../stagex"]) {
    expect(() => parseConfig({ signedAs: wrong })).toThrow(/stagex:signedAs: no repository begins with this/);
  }
});

test("accepts the name of a signing key, and refuses a key itself without quoting it", () => {
  expect(parseConfig({ attest: "ash", signingKey: "keys/ash.asc" })).toMatchObject({
    attest: "ash",
    signingKey: "keys/ash.asc",
  });
  const key = "-----BEGIN PGP PRIVATE KEY BLOCK-----\nc2VjcmV0\n";
  expect(() => parseConfig({ signingKey: key })).toThrow(/stagex:signingKey: this is a key, not the name/);
  expect(() => parseConfig({ signingKey: key })).not.toThrow(/c2VjcmV0/);
  expect(() => parseConfig({ attest: "Ash Linden" })).toThrow(/stagex:attest: not a person's id/);
});

test("publishes to one registry or a list, without a password, and copies signatures to a folder", () => {
  expect(parseConfig({ publishTo: "docker.io/stagex", publishSignaturesTo: "public" })).toMatchObject({
    publishTo: ["docker.io/stagex"],
    publishSignaturesTo: "public",
  });
  const publishTo = '["docker.io/stagex", "quay.io/stagex"]';
  expect(parseConfig({ publishTo }).publishTo).toEqual(["docker.io/stagex", "quay.io/stagex"]);
  const secret = { publishTo: "alice:open-sesame@docker.io/stagex" };
  expect(() => parseConfig(secret)).toThrow(/stagex:publishTo: .*docker login/);
  expect(() => parseConfig(secret)).not.toThrow(/sesame|alice/);
  expect(() => parseConfig({ publishSignaturesTo: "https://signatures.example" })).toThrow(
    /stagex:publishSignaturesTo: not a folder/,
  );
});

test("requires builders with unique names, addresses for buildctl, and credentials in files", () => {
  const builders = (...list: object[]) => parseConfig({ builders: JSON.stringify(list) }).builders;
  const west = { name: "west", address: "tcp://192.0.2.1:1234" };
  const tls = { ca: "ca.pem", cert: "cert.pem", key: "key.pem" };
  expect(builders({ ...west, tls, vendor: "GenuineIntel", memory: 64 })).toEqual([
    { ...west, tls, vendor: "GenuineIntel", memory: 64 },
  ]);
  expect(() => builders(west, west)).toThrow(/two builders have the same name/);
  expect(() => builders({ ...west, address: "https://192.0.2.1" })).toThrow(
    /not an address \(expected an address for buildctl/,
  );
  expect(() => builders({ ...west, tls: { ...tls, key: undefined } })).toThrow(/stagex:builders/);
  expect(() => builders({ ...west, address: "unix:///run/b.sock", tls })).toThrow(
    /tls is for tcp:\/\/ addresses only/,
  );
  expect(() => builders()).toThrow(/stagex:builders/);
});

test.each([
  ["release", "release"],
  ["all", "all"],
  ["false", false],
  ["true", "all"],
])("parses stagex:verify %s as %s", (text, mode) => {
  expect(parseConfig({ verify: text }).verify).toBe(mode);
});
