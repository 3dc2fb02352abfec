import { expect, test } from "vitest";
import { awsFleetConfig } from "../../../config/aws-fleet.ts";
import { fleetsToPrice, localSlots, plannedSlots, pricedAwsMachines } from "../../../config/fleet-plan.ts";
import { parseConfig } from "../../../config/schema.ts";
import { formatMachines, type Prices } from "../../../distro/plan/cost.ts";

const prices: Prices = {
  date: "2026-03-01",
  currency: "USD",
  perHour: { "m8i.4xlarge": 1, "m8a.4xlarge": 1 },
};

/** The settings as Pulumi hands them over. */
function config(settings: Record<string, unknown>) {
  return parseConfig(
    Object.fromEntries(Object.entries(settings).map(([key, value]) => [key, JSON.stringify(value)])),
  );
}

const builder = (name: string, more: object = {}) => ({
  name,
  address: `tcp://${name}.example:1234`,
  ...more,
});

test.each([
  ["no fleet", {}, localSlots()],
  ["no fleet, and a number of jobs", { jobs: 5 }, 5],
  ["three daemons of one's own", { localBuilders: 3 }, 6],
  ["builders that say so", { builders: [builder("a", { slots: 4 }), builder("b", { slots: 3 })] }, 7],
  ["builders that don't", { builders: [builder("a"), builder("b")] }, 4],
  ["builders, and fewer jobs", { builders: [builder("a", { slots: 40 }), builder("b")], jobs: 10 }, 10],
  ["machines on AWS", { aws: { builders: { intel: 2, amd: 1 }, size: "large" } }, 24],
])("the slots of %s", (_of, settings, slots) => {
  expect(plannedSlots(config(settings))).toBe(slots);
});

test.each([
  [
    "as many of each",
    { aws: { builders: { intel: 2, amd: 2 } }, reproduceOn: ["GenuineIntel", "AuthenticAMD"] },
    8,
  ],
  [
    "fewer of one",
    { aws: { builders: { intel: 3, amd: 1 } }, reproduceOn: ["genuineintel", "AuthenticAMD"] },
    4,
  ],
  ["builders by name", { localBuilders: 3, reproduceOn: ["local-1", "local-3"] }, 2],
  ["vendors that nobody knows yet", { builders: [builder("a"), builder("b")], reproduceOn: ["x", "y"] }, 2],
  ["few jobs", { localBuilders: 2, jobs: 2, reproduceOn: ["local-1", "local-2"] }, 1],
])("where each image is built on several vendors, the smallest counts: %s", (_of, settings, slots) => {
  expect(plannedSlots(config(settings))).toBe(slots);
});

const shown = (settings: object, shownPrices = prices) =>
  fleetsToPrice(config({ ...settings }), shownPrices).map(
    ({ machines, atOnce, witnesses }) => `${formatMachines(machines)}: ${atOnce} x ${witnesses}`,
  );

test("prices several sizes of every machine with a price if there is no fleet", () => {
  expect(shown({}, { ...prices, perHour: { "m8i.4xlarge": 1, "my-own": 1 } })).toEqual([
    ...["1 m8i.4xlarge: 4 x 1", "2 m8i.4xlarge: 8 x 1", "4 m8i.4xlarge: 16 x 1", "8 m8i.4xlarge: 32 x 1"],
    ...["1 my-own: 2 x 1", "2 my-own: 4 x 1", "4 my-own: 8 x 1", "8 my-own: 16 x 1"],
  ]);
});

test("prices the configured fleet first, then its multiples, and no machine twice", () => {
  expect(shown({ aws: {}, reproduceOn: ["GenuineIntel", "AuthenticAMD"] })).toEqual([
    "1 m8i.4xlarge + 1 m8a.4xlarge: 4 x 2",
    "2 m8i.4xlarge + 2 m8a.4xlarge: 8 x 2",
    "4 m8i.4xlarge + 4 m8a.4xlarge: 16 x 2",
  ]);
});

test("prices a builder by its `machine`, or else by its name", () => {
  const builders = [builder("a", { machine: "m8i.4xlarge", slots: 4 }), builder("attic")];
  expect(shown({ builders }).slice(0, 2)).toEqual([
    "1 m8i.4xlarge + 1 attic: 6 x 1",
    "2 m8i.4xlarge + 2 attic: 12 x 1",
  ]);
});

test("counts the disks of machines on AWS, except instance stores", () => {
  const machines = (settings: object) => pricedAwsMachines(awsFleetConfig.parse(settings));
  expect(machines({}).map(({ storageGiB }) => storageGiB)).toEqual([400, 400]);
  expect(machines({ diskGib: 90 }).map(({ storageGiB }) => storageGiB)).toEqual([90, 90]);
  expect(machines({ disk: "instance-store", families: { intel: "m8id", amd: "m8ad" } })).toEqual([
    { machine: "m8id.4xlarge", slots: 4, count: 1, storageGiB: undefined },
    { machine: "m8ad.4xlarge", slots: 4, count: 1, storageGiB: undefined },
  ]);
});
