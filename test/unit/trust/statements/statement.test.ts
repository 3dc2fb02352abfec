import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { digestOf, parseDigest } from "../../../../oci/digest.ts";
import { Keyring } from "../../../../trust/openpgp/keyring.ts";
import type { Trust } from "../../../../trust/quorum/quorum.ts";
import { parseRoster } from "../../../../trust/quorum/roster.ts";
import { parseRepository } from "../../../../trust/signatures/image-reference.ts";
import { SignedStatements } from "../../../../trust/statements/signed-statements.ts";
import {
  createStatement,
  serializeStatement,
  verifyStatement,
} from "../../../../trust/statements/statement.ts";
import {
  digest,
  maintainersOf,
  newKey,
  otherDigest,
  payload,
  signedBy,
} from "../../../support/builders/maintainers.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

type Key = Awaited<ReturnType<typeof newKey>>;
let alice: Key;
let mallory: Key;
let trust: Trust;

const predicateType = "https://words.example/v1";
const about = { digest: parseDigest(digest), predicateType };
const good = () =>
  text(createStatement([{ name: "seed", digest: about.digest }], predicateType, { words: "good" }));
const text = (statement: Parameters<typeof serializeStatement>[0]) =>
  Buffer.from(serializeStatement(statement)).toString("utf8");

beforeAll(async () => {
  [alice, mallory] = [await newKey("alice"), await newKey("mallory")];
  const roster = parseRoster(maintainersOf({ alice: { keys: [alice] } }));
  trust = { roster, keyring: await Keyring.of([alice, mallory]) };
});

test("verifies a statement, and names its signer", async () => {
  const verified = await verifyStatement(await signedBy(alice, good()), about, trust);
  expect(verified.person).toBe("alice");
  expect(verified.statement.predicate).toEqual({ words: "good" });
});

test.each([
  ["about another image", () => good().replaceAll(digest.slice(7), otherDigest.slice(7)), "other-digest"],
  ["of another type", () => good().replace("words.example/v1", "words.example/v2"), "payload-members"],
  [
    "of another version of in-toto",
    () => good().replace("Statement/v1", "Statement/v0.1"),
    "payload-members",
  ],
  ["about nothing", () => text({ ...JSON.parse(good()), subject: [] }), "payload-members"],
  ["an image's signature", () => payload(), "payload-members"],
  ["with a member twice", () => good().replace("{", '{"predicateType":"x",'), "payload-duplicate-member"],
  ["with a byte order mark", () => `\uFEFF${good()}`, "payload-encoding"],
  ["that is no JSON", () => "words", "payload-json"],
])("rejected: a statement %s", async (_name, said, code) => {
  await expect(verifyStatement(await signedBy(alice, said()), about, trust)).rejects.toMatchObject({ code });
});

test("rejects a signer outside of the roster, and a changed byte", async () => {
  await expect(verifyStatement(await signedBy(mallory, good()), about, trust)).rejects.toMatchObject({
    code: "not-in-roster",
  });
  const bytes = Buffer.from(await signedBy(alice, good()));
  const at = bytes.indexOf("good");
  bytes.write("evil", at);
  await expect(verifyStatement(bytes, about, trust)).rejects.toMatchObject({ code: "bad-signature" });
});

test("finds a statement by the index and by each manifest that it names", async () => {
  const folder = await scratchFolder();
  const statements = new SignedStatements(folder, "provenance");
  const repository = parseRepository("stagex/core-seed");
  const digests = ["index", "amd64", "arm64"].map((name) => digestOf(name));
  const subjects = digests.map((one) => ({ name: "stagex/core-seed", digest: one }));
  const { predicateType } = about;
  const text = Buffer.from(serializeStatement(createStatement(subjects, predicateType, {}))).toString();
  const message = await signedBy(alice, text);
  const [index = digestOf(""), ...manifests] = digests;
  await statements.write({ repository, predicateType, digest: index }, message, trust, manifests);
  for (const one of digests)
    expect(await statements.read({ repository, predicateType, digest: one }, trust)).toHaveLength(1);
  const place = { repository, predicateType, digest: index };
  await expect(statements.write(place, message, trust, [digestOf("else")])).rejects.toThrow(
    "would not count",
  );
  expect(await statements.read({ ...place, digest: digestOf("else") }, trust)).toEqual([]);
});

test("keeps statements apart from signatures, and leaves invalid ones out", async () => {
  const folder = await scratchFolder();
  const statements = new SignedStatements(folder, "provenance");
  const place = { ...about, repository: parseRepository("stagex/core-seed") };
  expect(await statements.read(place, trust)).toEqual([]);
  const message = await signedBy(alice, good());
  expect(await statements.write(place, message, trust)).toBe("provenance-1");
  expect(await statements.write(place, message, trust)).toBe("provenance-1");
  await expect(statements.write(place, await signedBy(mallory, good()), trust)).rejects.toThrow(
    "would not count",
  );
  const beside = join(folder, `statements/stagex/core-seed@sha256=${digest.slice(7)}`);
  writeFileSync(join(beside, "provenance-2"), await signedBy(mallory, good()));
  mkdirSync(join(beside, "provenance-3"));
  expect(await statements.read(place, trust)).toMatchObject([{ file: "provenance-1", person: "alice" }]);
  expect(await statements.readMatching(place, Buffer.from(good()), trust)).toHaveLength(1);
  expect(await statements.readMatching(place, Buffer.from("else"), trust)).toEqual([]);
  expect(await statements.read({ ...place, digest: digestOf("else") }, trust)).toEqual([]);
});
