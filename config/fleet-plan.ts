import { availableParallelism } from "node:os";
import { fleetSizes, type PricedFleet, type PricedMachines, type Prices } from "../distro/plan/cost.ts";
import {
  type AwsFleetConfig,
  awsBuilders,
  awsMachines,
  builderSizes,
  instanceType,
  sizeOfInstanceType,
} from "./aws-fleet.ts";
import type { BuilderInputs } from "./builder-inputs.ts";
import type { StagexConfig } from "./schema.ts";

/** A builder of the configured fleets, as far as the configuration describes it. */
export type PlannedBuilder = {
  readonly name: string;
  /**
   * The platforms it builds, its own first: `here` for those of this machine; undefined if only the
   * builder knows.
   */
  readonly platforms: readonly string[] | "here" | undefined;
  /** The number of images it builds at once. */
  readonly slots: number;
  /** Undefined if only the builder knows. */
  readonly vendor?: string | undefined;
  /** The kind of machine, as the prices name it. */
  readonly machine: string;
  readonly storageGiB?: number | undefined;
};

type FleetConfig = Pick<StagexConfig, "builders" | "localBuilders" | "aws" | "jobs">;
type BuildConfig = FleetConfig & Pick<StagexConfig, "reproduceOn">;

/** Returns the builders of all configured fleets; none for a run with the default builder. */
export function plannedBuilders({
  builders = [],
  localBuilders = 0,
  aws,
  jobs,
}: FleetConfig): PlannedBuilder[] {
  const onAws = aws ? plannedOnAws(aws) : [];
  const slots = defaultSlots(builders.length + localBuilders + onAws.length, jobs);
  return [
    ...builders.map((builder) => {
      const { name, platforms, vendor, machine = name } = builder;
      return { name, platforms, vendor, machine, slots: builder.slots ?? slots };
    }),
    ...localBuilderNames(localBuilders).map((name) => ({
      name,
      machine: name,
      slots,
      platforms: "here" as const,
    })),
    ...onAws,
  ];
}

/**
 * Returns the builders that the provider waits for: the names of the configured ones, or the
 * default builder.
 */
export function expectedBuilders(
  config: FleetConfig & Pick<StagexConfig, "buildkit">,
): readonly string[] | BuilderInputs {
  const names = plannedBuilders(config).map(({ name }) => name);
  return names.length > 0 ? names : defaultBuilder(config.buildkit);
}

/**
 * Returns the builder of a run without a fleet: the daemon at the configured address, else at
 * `$BUILDKIT_HOST`, else a private one.
 */
export function defaultBuilder(configured: string | undefined): BuilderInputs {
  return { name: "builder", address: configured ?? process.env.BUILDKIT_HOST ?? "private:0", wait: 0 };
}

/** Returns the names of the private daemons of a `local` fleet: `local-1`, `local-2`. */
export function localBuilderNames(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `local-${index + 1}`);
}

/**
 * Returns the default slots of a builder on this machine: one build uses all cores, and a second
 * one fills its gaps.
 */
export function localSlots(): number {
  return Math.max(2, Math.floor(availableParallelism() / 4));
}

/** Returns the default slots of each builder in a fleet of this size. */
export function defaultSlots(fleetSize: number, jobs: number | undefined): number {
  return fleetSize > 1 ? 2 : (jobs ?? localSlots());
}

/**
 * Returns the number of images that this configuration builds at once, each on all the builders
 * that have to build it.
 */
export function plannedSlots(config: BuildConfig): number {
  const builders = plannedBuilders(config);
  return builders.length === 0 ? defaultSlots(1, config.jobs) : imagesAtOnce(builders, config);
}

/** Returns the machines of a fleet on AWS, by instance type. */
export function pricedAwsMachines(config: AwsFleetConfig): PricedMachines[] {
  return pricedMachines(plannedOnAws(config));
}

/**
 * Returns the fleets to price: the configured one and multiples of it, and several sizes of each
 * other machine with a price.
 */
export function fleetsToPrice(config: BuildConfig, prices: Prices): PricedFleet[] {
  const builders = plannedBuilders(config);
  const own = pricedMachines(builders);
  const witnesses = witnessesOf(config);
  const multiples = builders.length === 0 ? [] : fleetSizes(4);
  const others = Object.keys(prices.perHour).filter((type) => !own.some(({ machine }) => machine === type));
  return [
    ...multiples.map((times) => ({
      machines: own.map((machines) => ({ ...machines, count: machines.count * times })),
      witnesses,
      atOnce: imagesAtOnce(builders, config, times),
    })),
    ...others.flatMap((type) => fleetSizes(8).map((count) => fleetOf(type, count, config))),
  ];
}

function plannedOnAws(config: AwsFleetConfig): PlannedBuilder[] {
  const { slots, cacheGib } = builderSizes[config.size];
  const storageGiB = config.disk === "gp3" ? (config.diskGib ?? cacheGib) : undefined;
  return awsBuilders(config).map(({ name, vendor }) => {
    const { cpuVendor, platforms } = awsMachines[vendor];
    return { name, platforms, vendor: cpuVendor, machine: instanceType(config, vendor), slots, storageGiB };
  });
}

function pricedMachines(builders: readonly PlannedBuilder[]): PricedMachines[] {
  const kinds = Map.groupBy(builders, ({ machine, slots, storageGiB }) =>
    [machine, slots, storageGiB].join(" "),
  );
  return [...kinds.values()].flatMap((alike) => {
    const [first] = alike;
    if (!first) return [];
    const { machine, slots, storageGiB } = first;
    return [{ machine, slots, storageGiB, count: alike.length }];
  });
}

function witnessesOf({ reproduceOn = [] }: BuildConfig): number {
  return Math.max(1, reproduceOn.length);
}

/**
 * Returns the images built at once. If each is built on several vendors' machines, those with the
 * fewest slots set the limit.
 */
function imagesAtOnce(builders: readonly PlannedBuilder[], config: BuildConfig, times = 1): number {
  const { reproduceOn, jobs = Number.POSITIVE_INFINITY } = config;
  const slotsOf = (some: readonly PlannedBuilder[]) =>
    some.reduce((slots, builder) => slots + builder.slots, 0) * times;
  const all = slotsOf(builders);
  const evenly = Math.floor(all / witnessesOf(config));
  const ofTarget = (target: string) =>
    slotsOf(
      builders.filter(
        ({ name, vendor }) => name === target || vendor?.toLowerCase() === target.toLowerCase(),
      ),
      // The vendor of a machine may be unknown until it is asked.
    ) || evenly;
  const least = reproduceOn ? Math.min(...reproduceOn.map(ofTarget)) : all;
  return Math.max(1, Math.min(least, Math.floor(jobs / witnessesOf(config))));
}

/** Returns a fleet with this number of machines of one type for each witness. */
function fleetOf(type: string, count: number, config: BuildConfig): PricedFleet {
  const witnesses = witnessesOf(config);
  const size = sizeOfInstanceType(type);
  const slots = size?.slots ?? defaultSlots(2, undefined);
  const machines = { machine: type, count: count * witnesses, slots, storageGiB: size?.cacheGib };
  return { machines: [machines], witnesses, atOnce: slots * count };
}
