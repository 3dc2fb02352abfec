import { z } from "zod";
import { type ForecastImage, forecast } from "./forecast.ts";

/**
 * What machines cost, as the user wrote it down: prices change, differ by region and contract, and nobody here can look them up.
 * For the configuration.
 */
export const pricesSchema = z.strictObject({
  date: z.iso.date().describe("When these prices were true, such as 2026-03-01."),
  currency: z
    .string()
    .regex(/^[A-Z]{3}$/, { error: "expected a currency's three letters, such as USD" })
    .describe("Such as USD."),
  perHour: z
    .record(z.string().min(1), z.number().nonnegative())
    .describe("The price of an hour, by instance type."),
  storagePerGiBMonth: z
    .number()
    .nonnegative()
    .optional()
    .describe("The price of a GiB of the builders' disks for a month; not counted where not given."),
});
export type Prices = z.infer<typeof pricesSchema>;

/** A fleet of equal machines that one might have. */
export type PricedFleet = {
  readonly instanceType: string;
  readonly builders: number;
  /** Images that each builds at once. */
  readonly slots: number;
  /** GiB of disk that each has. */
  readonly storageGiB?: number;
};

/** What a run costs on a fleet. */
export type Cost = PricedFleet & {
  /** From the first build to the last; null where most of the durations are not known. */
  readonly hours: number | null;
  /** In the prices' currency, all machines paid for until the last build ends; null where the hours or the price are not known. */
  readonly price: number | null;
  /** The share of the slots' time in which something is built, 0 to 1; the rest is paid for and idle. */
  readonly usage: number | null;
};

const hoursOfMonth = 730;

/**
 * What building these images costs on each of the fleets, in their order. Durations are taken to be alike on all machines; for images that
 * nobody has recorded, `seconds` can be what expected-seconds.ts gives.
 */
export function costTable(
  images: ReadonlyMap<string, ForecastImage>,
  fleets: readonly PricedFleet[],
  prices: Prices,
): Cost[] {
  const oneByOne = forecast(images, 1).seconds;
  return fleets.map((fleet) => {
    const slots = fleet.builders * fleet.slots;
    const { seconds } = forecast(images, slots);
    const hours = seconds === null ? null : seconds / 3600;
    const usage = seconds && oneByOne ? oneByOne / (seconds * slots) : null;
    return { ...fleet, hours, price: priceOf(fleet, hours, prices), usage };
  });
}

/** Sizes to show where nobody chose any: doubling up to `most` builders, with that one itself. */
export function fleetSizes(most: number): number[] {
  const sizes = [1, 2, 4, 8, 16, 32, 64].filter((size) => size < most);
  return [...sizes, most];
}

function priceOf(fleet: PricedFleet, hours: number | null, prices: Prices): number | null {
  const perHour = prices.perHour[fleet.instanceType];
  if (hours === null || perHour === undefined) return null;
  const storage = ((fleet.storageGiB ?? 0) * (prices.storagePerGiBMonth ?? 0)) / hoursOfMonth;
  return hours * fleet.builders * (perHour + storage);
}

/**
 * The table for people; says of when the prices are, and what is missing.
 * @param modelled how many of the images have a duration that nobody recorded
 */
export function costText(costs: readonly Cost[], prices: Prices, modelled = 0): string {
  const rows = costs.map(({ instanceType, builders, hours, usage, price }) => [
    instanceType,
    String(builders),
    hours === null ? "?" : hours.toFixed(1),
    usage === null ? "?" : `${Math.round(usage * 100)} %`,
    price === null ? "?" : `${price.toFixed(2)} ${prices.currency}`,
  ]);
  const all = [["machine", "builders", "hours", "at work", "cost"], ...rows];
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

function missing(costs: readonly Cost[], prices: Prices): string {
  if (costs.some(({ hours }) => hours === null))
    return " How long it takes is not known: of most images nobody has recorded it.";
  const types = new Set(costs.map(({ instanceType }) => instanceType));
  const unknown = [...types].filter((type) => !(type in prices.perHour));
  return unknown.length === 0 ? "" : ` There is none for ${unknown.join(", ")}: add it to perHour.`;
}
