import { expect, test } from "vitest";
import { judged, newKey, payload, signedBy } from "../fixtures/maintainers.ts";

const rule = { threshold: 2, vendors: 2 };
const claim = (cpuVendor: string) => payload({ optional: { cpuVendor } });

test("a claim of a machine that the roster does not list for this person adds no vendor", async () => {
  const [alice, bob] = [await newKey("alice"), await newKey("bob")];
  const people = {
    alice: { keys: [alice], brands: ["AMD"] },
    bob: { keys: [bob], brands: ["AuthenticAMD"] },
  };
  const outcome = await judged(
    [await signedBy(alice, claim("AMD")), await signedBy(bob, claim("GenuineIntel"))],
    people,
    rule,
  );
  expect(outcome).toMatchObject({ met: false, people: 2, vendors: 1 });
  expect(outcome.accepted[1]).toMatchObject({
    person: "bob",
    cpuVendor: null,
    note: expect.stringContaining("GenuineIntel"),
  });
});

test("two spellings of one vendor are one vendor", async () => {
  const [alice, bob] = [await newKey("alice"), await newKey("bob")];
  const people = {
    alice: { keys: [alice], brands: ["AMD"] },
    bob: { keys: [bob], brands: ["AuthenticAMD"] },
  };
  const outcome = await judged(
    [await signedBy(alice, claim("amd")), await signedBy(bob, claim("AuthenticAMD"))],
    people,
    rule,
  );
  expect(outcome).toMatchObject({ met: false, vendors: 1 });
});

test("a claim beside what is signed counts for nothing", async () => {
  const [alice, bob] = [await newKey("alice"), await newKey("bob")];
  const both = ["AMD", "Intel"];
  const people = { alice: { keys: [alice], brands: both }, bob: { keys: [bob], brands: both } };
  const notSigned = Buffer.from(claim("GenuineIntel"));
  const files = [await signedBy(alice, claim("AMD")), await signedBy(bob), notSigned];
  const outcome = await judged(files, people, rule);
  expect(outcome).toMatchObject({ met: false, people: 2, vendors: 1 });
  expect(outcome.accepted[1]).toMatchObject({
    cpuVendor: null,
    note: expect.stringContaining("several vendors"),
  });
});

test("a vendor that nobody has heard of is none", async () => {
  const [alice, bob] = [await newKey("alice"), await newKey("bob")];
  const people = { alice: { keys: [alice], brands: ["AMD"] }, bob: { keys: [bob], brands: ["Amd Two"] } };
  const outcome = await judged(
    [await signedBy(alice, claim("AMD")), await signedBy(bob, claim("Amd Two"))],
    people,
    rule,
  );
  expect(outcome).toMatchObject({ met: false, vendors: 1 });
});

test("people on two vendors' machines meet the rule, by claim or by a roster that leaves no doubt", async () => {
  const [alice, bob] = [await newKey("alice"), await newKey("bob")];
  const people = {
    alice: { keys: [alice], brands: ["AMD"] },
    bob: { keys: [bob], brands: ["Intel", "AMD"] },
  };
  const outcome = await judged([await signedBy(alice), await signedBy(bob, claim("Intel(R)"))], people, rule);
  expect(outcome).toMatchObject({ met: true, people: 2, vendors: 2, rejected: [] });
});
