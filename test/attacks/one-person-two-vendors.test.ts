import { expect, test } from "vitest";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import { describeVerdict, evaluateQuorum } from "../../trust/quorum/quorum.ts";
import { parseRoster } from "../../trust/quorum/roster.ts";
import { digest, image, maintainersOf, newKey, payload, signedBy } from "../support/builders/maintainers.ts";

/** Evaluates these people's claims of these vendors by a rule. */
async function outcomeOf(
  claims: readonly (readonly [string, string | undefined])[],
  threshold: number,
  vendors: number,
) {
  const keys = { alice: await newKey("alice"), bob: await newKey("bob") };
  const people = Object.fromEntries(
    Object.entries(keys).map(([id, key]) => [id, { keys: [key], brands: ["AMD", "Intel"] }]),
  );
  const files = await Promise.all(
    claims.map(async ([id, cpuVendor], index) => {
      const builder = cpuVendor === undefined ? {} : { optional: { cpuVendor } };
      const key = keys[id as keyof typeof keys];
      return {
        file: `signature-${index + 1}`,
        bytes: await signedBy(key, payload({ manifest: digest, ...builder })),
      };
    }),
  );
  const trust = {
    roster: parseRoster(maintainersOf(people)),
    keyring: await Keyring.of(Object.values(keys)),
  };
  const rule = { threshold, vendors };
  const outcome = await evaluateQuorum(image, files, trust, rule);
  return { ...outcome, words: describeVerdict(outcome, rule) };
}

const amd = "AuthenticAMD";
const intel = "GenuineIntel";

test("counts one person with machines of two vendors for one vendor", async () => {
  const alone = await outcomeOf(
    [
      ["alice", amd],
      ["alice", intel],
    ],
    1,
    2,
  );
  expect(alone).toMatchObject({ met: false, people: 1, vendors: 1, rejected: [] });
  expect(alone.words).toBe(
    "1 of 1 people (alice), 1 of 2 vendors (AuthenticAMD, GenuineIntel, each counts by another person)",
  );
});

test("does not count a person without a vendor for the second vendor", async () => {
  const signed = await outcomeOf(
    [
      ["alice", amd],
      ["alice", intel],
      ["bob", undefined],
    ],
    2,
    2,
  );
  expect(signed).toMatchObject({ met: false, people: 2, vendors: 1 });
});

test.each([
  [
    [
      ["alice", amd],
      ["alice", intel],
      ["bob", intel],
    ],
  ],
  [
    [
      ["bob", intel],
      ["alice", intel],
      ["alice", amd],
    ],
  ],
  [
    [
      ["alice", amd],
      ["bob", intel],
    ],
  ],
  [
    [
      ["bob", amd],
      ["alice", intel],
      ["alice", amd],
      ["bob", intel],
    ],
  ],
] as const)("two people of whom each can stand for a vendor of their own are: %j", async (claims) => {
  expect(await outcomeOf(claims, 1, 2)).toMatchObject({ met: true, people: 2, vendors: 2 });
});

test("counts two people on one vendor's machines for one vendor", async () => {
  expect(
    await outcomeOf(
      [
        ["alice", amd],
        ["bob", amd],
      ],
      2,
      2,
    ),
  ).toMatchObject({ met: false, vendors: 1 });
});
