import { expect, test } from "vitest";
import {
  computeCosts,
  fleetSizes,
  formatCosts,
  machineRates,
  type PricedFleet,
  type PricedMachines,
  type Prices,
  pricesSchema,
} from "../../../../distro/plan/cost.ts";
import type { ForecastImage } from "../../../../distro/plan/forecast.ts";

const prices: Prices = {
  date: "2026-03-01",
  currency: "USD",
  perHour: { "large.x86": 2, "large.arm": 1.5 },
  storagePerGiBMonth: 0.073,
};

/** One hour of bootstrap, and eight images of an hour each that are built from it. */
const images = new Map<string, ForecastImage>([
  ["bootstrap", { status: "will", dependencies: [], seconds: 3600 }],
  ...Array.from({ length: 8 }, (_, index): [string, ForecastImage] => [
    `image-${index}`,
    { status: "may", dependencies: ["bootstrap"], seconds: 3600 },
  ]),
]);

/** Equal machines, each image on one of them. */
const fleet = (count: number, more: Partial<PricedMachines> = {}): PricedFleet => {
  const machines = { machine: "large.x86", slots: 1, count, ...more };
  return { machines: [machines], witnesses: 1, atOnce: count * machines.slots };
};

test("lowers the hours and raises the price with more builders that wait for the bootstrap", () => {
  const costs = computeCosts(images, [fleet(1), fleet(4), fleet(8)], prices);
  expect(costs.map(({ hours }) => hours)).toEqual([9, 3, 2]);
  expect(costs.map(({ price }) => price)).toEqual([18, 24, 32]);
  expect(costs.map(({ usage }) => usage)).toEqual([1, 0.75, 9 / 16]);
});

test("counts slots like builders, but does not charge for them", () => {
  const [cost] = computeCosts(images, [fleet(2, { slots: 4 })], prices);
  expect(cost).toMatchObject({ hours: 2, price: 8 });
});

test("charges for the builders of both vendors", () => {
  const machines = ["large.x86", "large.arm"].map((machine) => ({ machine, count: 4, slots: 1 }));
  const [cost] = computeCosts(images, [{ machines, witnesses: 2, atOnce: 4 }], prices);
  expect(cost).toMatchObject({ hours: 3, price: 3 * 4 * (2 + 1.5), usage: 0.75 });
});

test("has no price for a fleet with an unpriced machine", () => {
  const machines = ["large.x86", "huge"].map((machine) => ({ machine, count: 1, slots: 1, storageGiB: 100 }));
  expect(machineRates(machines, prices)).toEqual({ perHour: null, perMonth: 200 * 0.073 });
  expect(machineRates(machines.slice(0, 1), prices)).toEqual({ perHour: 2, perMonth: 100 * 0.073 });
});

test("charges for disks by the month", () => {
  const [cost] = computeCosts(images, [fleet(8, { storageGiB: 1000 })], prices);
  expect(cost?.price).toBeCloseTo(32 + 8 * 2 * 1000 * (0.073 / 730));
});

test("charges nothing for an unchanged image", () => {
  const unchanged = new Map([["a", { status: "unchanged", dependencies: [], seconds: 10 } as const]]);
  expect(computeCosts(unchanged, [fleet(3)], prices)[0]).toMatchObject({ hours: 0, price: 0 });
});

test("reports unknown durations instead of guessing them", () => {
  const unrecorded = new Map([["a", { status: "will", dependencies: [], seconds: null } as const]]);
  const unknown = computeCosts(unrecorded, [fleet(1)], prices);
  expect(unknown[0]).toMatchObject({ hours: null, price: null, usage: null });
  expect(formatCosts(unknown, prices)).toContain("nobody has recorded it");
  const unpriced = computeCosts(images, [fleet(1, { machine: "huge" })], prices);
  expect(unpriced[0]).toMatchObject({ hours: 9, price: null });
  expect(formatCosts(unpriced, prices)).toContain("There is none for huge: add it to perHour.");
});

test("formats the table", () => {
  const costs = computeCosts(images, [fleet(1), fleet(8, { machine: "large.arm" })], prices);
  expect(formatCosts(costs, prices, 3).split("\n")).toEqual([
    "builders     images at once  hours  at work       cost",
    "1 large.x86               1    9.0    100 %  18.00 USD",
    "8 large.arm               8    2.0     56 %  24.00 USD",
    "Prices of 2026-03-01. The durations of 3 images are not recorded but rough guesses.",
  ]);
});

test("doubles fleet sizes up to the largest", () => {
  expect(fleetSizes(1)).toEqual([1]);
  expect(fleetSizes(8)).toEqual([1, 2, 4, 8]);
  expect(fleetSizes(10)).toEqual([1, 2, 4, 8, 10]);
});

test.each([
  [{ ...prices, date: "last week" }, "date"],
  [{ ...prices, currency: "dollars" }, "currency"],
  [{ ...prices, perHour: { "large.x86": -1 } }, "perHour"],
  [{ ...prices, perMonth: {} }, ""],
])("rejects invalid prices (%#)", (wrong, path) => {
  expect(pricesSchema.safeParse(wrong).error?.issues[0]?.path.join(".")).toContain(path);
});
