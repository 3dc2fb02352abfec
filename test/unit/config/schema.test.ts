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

test("lists, flags and numbers are read from the text that Pulumi hands over", () => {
  const config = parseConfig({ tree: "../stagex", images: '["core-*"]', verify: "false", jobs: "3" });
  expect(config).toEqual({
    ...defaults,
    tree: "../stagex",
    images: ["core-*"],
    verify: false,
    jobs: 3,
  });
});

test("what is not set has its default", () => {
  expect(parseConfig({})).toEqual(defaults);
});

test("every wrong key is named at once, with what was found and what is allowed", () => {
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

test("what the engine adds of its own is no mistake of the user's", () => {
  expect(checkConfig({ version: "0.1.0", tree: "x" })).toEqual([]);
});

test("a registry is one or a list, and every address is looked at", () => {
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

test("an exchange is one registry, none by default", () => {
  expect(parseConfig({}).fleetRegistry).toBeUndefined();
  expect(parseConfig({ fleetRegistry: "127.0.0.1:5000/fleet" }).fleetRegistry).toBe("127.0.0.1:5000/fleet");
  expect(() => parseConfig({ fleetRegistry: '["docker.io/fleet"]' })).toThrow(
    /stagex:fleetRegistry: not a registry/,
  );
  expect(() => parseConfig({ fleetRegistry: "user:secret@registry.example/fleet" })).toThrow(
    /stagex:fleetRegistry: not a registry: there is an @ in it/,
  );
});

test("substitution needs a registry, and trust is the ledger's, a release's or a quorum's", () => {
  expect(() => parseConfig({ substitute: '["*"]' })).toThrow(/stagex:substituteFrom: is not set, but/);
  const substituteFrom = "docker.io/stagex";
  expect(
    parseConfig({ substitute: '["*"]', substituteFrom, substituteTrust: "release" }).substituteTrust,
  ).toBe("release");
  expect(() => parseConfig({ substituteTrust: "anybody" })).toThrow(
    /stagex:substituteTrust: expected "ledger", "release" or "quorum"/,
  );
});

test("a quorum is of at least one person, on no particular hardware where the rule says so", () => {
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

test("signatures call an image by a repository's name", () => {
  expect(parseConfig({ signedAs: "registry.example:5000/stagex" }).signedAs).toBe(
    "registry.example:5000/stagex",
  );
  for (const wrong of ["", "Stage X", "stagex/", "../stagex"]) {
    expect(() => parseConfig({ signedAs: wrong })).toThrow(/stagex:signedAs: no repository begins with this/);
  }
});

test("a signing key is named, and a key itself is refused without being shown", () => {
  expect(parseConfig({ attest: "ash", signingKey: "keys/ash.asc" })).toMatchObject({
    attest: "ash",
    signingKey: "keys/ash.asc",
  });
  const key = "-----BEGIN PGP PRIVATE KEY BLOCK-----\nc2VjcmV0\n";
  expect(() => parseConfig({ signingKey: key })).toThrow(/stagex:signingKey: this is a key, not the name/);
  expect(() => parseConfig({ signingKey: key })).not.toThrow(/c2VjcmV0/);
  expect(() => parseConfig({ attest: "Ash Linden" })).toThrow(/stagex:attest: not a person's id/);
});

test("where to publish is a registry or a list of them, without a password; signatures go to a folder", () => {
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

test("builders have a name of their own each, an address that buildctl takes, and credentials in files", () => {
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
])("stagex:verify %s holds %s", (text, mode) => {
  expect(parseConfig({ verify: text }).verify).toBe(mode);
});
