import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import {
  type ClientPolicyInputs,
  createClientPolicy,
  maxRequirements,
} from "../../../../trust/client-policy/podman-policy.ts";
import { Keyring } from "../../../../trust/openpgp/keyring.ts";
import { parseRoster } from "../../../../trust/quorum/roster.ts";
import { maintainersOf, newKey, type People } from "../../../support/builders/maintainers.ts";

const all: Record<string, { keys: Awaited<ReturnType<typeof newKey>>[] }> = {};

beforeAll(async () => {
  for (let number = 0; number < 24; number++) all[`p${number}`] = { keys: [await newKey(`p${number}`)] };
});

async function policyOf(n: number, threshold: number, more: Partial<ClientPolicyInputs> = {}) {
  const people: People = Object.fromEntries(Object.entries(all).slice(0, n));
  const keyring = await Keyring.of(Object.values(people).flatMap(({ keys }) => keys));
  return createClientPolicy(
    {
      roster: parseRoster(maintainersOf(people)),
      keyring,
      threshold,
      repository: "docker.io/stagex",
      ...more,
    },
    "/etc/stagex",
  );
}

function requirementsOf(policy: Awaited<ReturnType<typeof policyOf>>): { keyPaths: string[] }[] {
  return JSON.parse(String(policy.files.get("policy.json"))).transports.docker["docker.io/stagex"];
}

test("has requirements that are all met exactly by t or more people", async () => {
  const sets = fc.record({
    n: fc.integer({ min: 1, max: 7 }),
    t: fc.integer({ min: 1, max: 7 }),
    signers: fc.uniqueArray(fc.nat(6)),
  });
  await fc.assert(
    fc.asyncProperty(sets, async ({ n, t, signers }) => {
      fc.pre(t <= n);
      const files = signers.filter((one) => one < n).map((one) => `/etc/stagex/keys/p${one}.gpg`);
      const requirements = requirementsOf(await policyOf(n, t));
      const met = requirements.every(({ keyPaths }) => keyPaths.some((path) => files.includes(path)));
      expect(met).toBe(files.length >= t);
    }),
  );
});

test("rejects all other images", async () => {
  expect(JSON.parse(String((await policyOf(3, 2)).files.get("policy.json"))).default).toEqual([
    { type: "reject" },
  ]);
});

test("refuses too many people before it lists the requirements", async () => {
  expect((await policyOf(24, 2)).requirements).toBe(24);
  expect((await policyOf(22, 3)).requirements).toBeLessThanOrEqual(maxRequirements);
  await expect(policyOf(24, 12)).rejects.toThrow(/2496144 requirements.*slow beyond 256/);
});

test.each([0, 4, 1.5, Number.NaN])("refuses a threshold of %d of 3 people", (threshold) =>
  expect(policyOf(3, threshold)).rejects.toThrow(/of 3 people can't be asked for/),
);

test("names people without a key, and does not count them", async () => {
  const people: People = { p0: all.p0 ?? { keys: [] }, p1: all.p1 ?? { keys: [] } };
  const roster = parseRoster(maintainersOf(people));
  const inputs = { roster, keyring: await Keyring.of(people.p0?.keys ?? []), repository: "docker.io/stagex" };
  expect(createClientPolicy({ ...inputs, threshold: 1 }, "/etc/stagex")).toMatchObject({
    people: ["p0"],
    peopleWithoutKeys: ["p1"],
  });
  expect(() => createClientPolicy({ ...inputs, threshold: 2 }, "/etc/stagex")).toThrow(/2 of 1 people/);
});

test.each(["stagex", "stagex/core-seed", "docker.io", "docker.io/stagex:1", "", "docker.io/../x"])(
  "a repository without its registry would be a policy for nothing: %j",
  (repository) => expect(policyOf(3, 2, { repository })).rejects.toThrow(/has no registry/),
);
