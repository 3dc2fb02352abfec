import { z } from "zod";
import { type ForecastImage, forecastRun } from "./forecast.ts";

/**
 * The prices of machines, as the user wrote them into the configuration. They change, and differ by
 * region and contract, so they cannot be looked up.
 */
export const pricesSchema = z.strictObject({
  date: z.iso.date().describe("When these prices were true, such as 2026-03-01."),
  currency: z
    .string()
    .regex(/^[A-Z]{3}$/, { error: "expected a currency's three letters, such as USD" })
    .describe("Such as USD."),
  perHour: z
    .record(z.string().min(1), z.number().nonnegative())
    .describe("The price of an hour, by kind of machine: EC2's instance type, or whatever builders name."),
  storagePerGiBMonth: z
    .number()
    .nonnegative()
    .optional()
    .describe("The price of a GiB of the builders' disks for a month; not counted where not given."),
});
export type Prices = z.infer<typeof pricesSchema>;

/** Machines of one kind. */
export type PricedMachines = {
  /** As the prices name it. */
  readonly machine: string;
  readonly count: number;
  /** Images that each builds at once. */
  readonly slots: number;
  /** GiB of disk that each has. */
  readonly storageGiB?: number | undefined;
};

/** A fleet, real or hypothetical. */
export type PricedFleet = {
  readonly machines: readonly PricedMachines[];
  /** The number of machines of different makers that build each image; all wait for the slowest. */
  readonly witnesses: number;
  /** Images that are built at once, each by all of its witnesses. */
  readonly atOnce: number;
};

/** The cost of a run on a fleet. */
export type RunCost = PricedFleet & {
  /** The time from the first build to the last; null where most of the durations are unknown. */
  readonly hours: number | null;
  /**
   * The price of all machines until the last build ends, in the prices' currency. Null where the
   * hours or a price are unknown.
   */
  readonly price: number | null;
  /** The share of the slots' time that builds take, 0 to 1. The rest is paid for and idle. */
  readonly usage: number | null;
};

const hoursOfMonth = 730;

/**
 * Computes the cost of building these images on each of the fleets, in their order. Assumes equal
 * durations on all machines. For images without a record, `seconds` can be an estimate of
 * build-durations.ts.
 */
export function computeCosts(
  images: ReadonlyMap<string, ForecastImage>,
  fleets: readonly PricedFleet[],
  prices: Prices,
): RunCost[] {
  const oneByOne = forecastRun(images, 1).seconds;
  return fleets.map((fleet) => {
    const { seconds } = forecastRun(images, fleet.atOnce);
    const hours = seconds === null ? null : seconds / 3600;
    const slots = fleet.machines.reduce((sum, machines) => sum + machines.count * machines.slots, 0);
    const usage = seconds && oneByOne ? (oneByOne * fleet.witnesses) / (seconds * slots) : null;
    const rates = machineRates(fleet.machines, prices);
    const perHour = rates.perHour === null ? null : rates.perHour + rates.perMonth / hoursOfMonth;
    return { ...fleet, hours, price: hours === null || perHour === null ? null : hours * perHour, usage };
  });
}

/** Returns the price of running machines, and of their disks, which cost at all times. */
export function machineRates(
  machines: readonly PricedMachines[],
  { perHour, storagePerGiBMonth = 0 }: Prices,
): { perHour: number | null; perMonth: number } {
  const unpriced = machines.some(({ machine }) => perHour[machine] === undefined);
  const sum = (of: (machines: PricedMachines) => number) => machines.reduce((all, each) => all + of(each), 0);
  return {
    perHour: unpriced ? null : sum(({ machine, count }) => (perHour[machine] ?? 0) * count),
    perMonth: sum(({ count, storageGiB = 0 }) => count * storageGiB * storagePerGiBMonth),
  };
}

/** Returns default fleet sizes: doubling up to `most` times, with that one itself. */
export function fleetSizes(most: number): number[] {
  const sizes = [1, 2, 4, 8, 16, 32, 64].filter((size) => size < most);
  return [...sizes, most];
}

/** Formats machines: `2 m8i.4xlarge + 1 m8a.4xlarge`. */
export function formatMachines(machines: readonly PricedMachines[]): string {
  return machines.map(({ machine, count }) => `${count} ${machine}`).join(" + ");
}

/**
 * Formats the table for people, with the date of the prices and what is missing.
 * @param modelled the number of images whose duration is not recorded
 */
export function formatCosts(costs: readonly RunCost[], prices: Prices, modelled = 0): string {
  const rows = costs.map(({ machines, atOnce, hours, usage, price }) => [
    formatMachines(machines),
    String(atOnce),
    hours === null ? "?" : hours.toFixed(hours < 1 ? 2 : 1),
    usage === null ? "?" : `${Math.round(usage * 100)} %`,
    price === null ? "?" : `${price.toFixed(2)} ${prices.currency}`,
  ]);
  const all = [["builders", "images at once", "hours", "at work", "cost"], ...rows];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const lines = all.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd(),
  );
  const guesses =
    modelled === 0 ? "" : ` The durations of ${modelled} images are not recorded but rough guesses.`;
  return [...lines, `Prices of ${prices.date}.${guesses}${missing(costs, prices)}`].join("\n");
}

function missing(costs: readonly RunCost[], prices: Prices): string {
  if (costs.some(({ hours }) => hours === null))
    return " How long it takes is not known: of most images nobody has recorded it.";
  return formatUnpriced(
    costs.flatMap(({ machines }) => machines),
    prices,
  );
}

/** Formats the machines without a price; empty where all have one. */
export function formatUnpriced(machines: readonly PricedMachines[], { perHour }: Prices): string {
  const kinds = new Set(machines.map(({ machine }) => machine));
  const unknown = [...kinds].filter((machine) => perHour[machine] === undefined);
  return unknown.length === 0 ? "" : ` There is none for ${unknown.join(", ")}: add it to perHour.`;
}
