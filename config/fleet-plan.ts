import { availableParallelism } from "node:os";
import { fleetSizes, type PricedFleet, type PricedMachines, type Prices } from "../distro/plan/cost.ts";
import {
  type AwsFleetConfig,
  awsBuilderNames,
  awsVendors,
  builderSizes,
  cpuVendorIds,
  instanceType,
  sizeOfInstanceType,
} from "./aws-fleet.ts";
import type { BuilderInputs } from "./builder-inputs.ts";
import type { StagexConfig } from "./schema.ts";

/** Names of the private daemons of a `local` fleet: `local-1`, `local-2`. */
export function localBuilderNames(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `local-${index + 1}`);
}

/** The builders that the program of this configuration registers; or, where it registers none, the one to build with. */
export function expectedBuilders(config: StagexConfig): readonly string[] | BuilderInputs {
  const names = [
    ...(config.builders ?? []).map(({ name }) => name),
    ...localBuilderNames(config.localBuilders ?? 0),
    ...(config.aws ? awsBuilderNames(config.aws) : []),
  ];
  return names.length > 0 ? names : defaultBuilder(config.buildkit);
}

/** The builder of a run without a fleet: the daemon at the configured address, else at `$BUILDKIT_HOST`, else a private one. */
export function defaultBuilder(configured: string | undefined): BuilderInputs {
  return { name: "builder", address: configured ?? process.env.BUILDKIT_HOST ?? "private:0", wait: 0 };
}

/** How many images a builder on this machine has at once by default: each uses all cores by itself, a second one fills its gaps. */
export function localSlots(): number {
  return Math.max(2, Math.floor(availableParallelism() / 4));
}

/** How many images each builder of a fleet of this size has at once where nobody said. */
export function defaultSlots(fleetSize: number, jobs: number | undefined): number {
  return fleetSize > 1 ? 2 : (jobs ?? localSlots());
}

/** A builder as the configuration tells of it, reached or not. */
type PlannedBuilder = {
  readonly name: string;
  readonly slots: number;
  /** Undefined where only the builder itself can tell. */
  readonly vendor?: string | undefined;
  /** As the prices name it. */
  readonly machine: string;
  readonly storageGiB?: number | undefined;
};

type PlannedBy = Pick<StagexConfig, "builders" | "localBuilders" | "aws" | "jobs" | "reproduceOn">;

/** How many images this configuration builds at once, each on all the builders that have to build it. */
export function plannedSlots(config: PlannedBy): number {
  const builders = plannedBuilders(config);
  return builders.length === 0 ? defaultSlots(1, config.jobs) : imagesAtOnce(builders, config);
}

/** The machines of a fleet on AWS, by instance type. */
export function awsMachines(config: AwsFleetConfig): PricedMachines[] {
  return machinesOf(awsBuilders(config));
}

/** The fleets whose costs are worth showing: the configured one and multiples of it, and some of every other machine with a price. */
export function fleetsToPrice(config: PlannedBy, prices: Prices): PricedFleet[] {
  const builders = plannedBuilders(config);
  const own = machinesOf(builders);
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

/** The builders of the configured fleets; none where there is only the one daemon of a run without a fleet. */
function plannedBuilders({ builders = [], localBuilders = 0, aws, jobs }: PlannedBy): PlannedBuilder[] {
  const onAws = aws ? awsBuilders(aws) : [];
  const slots = defaultSlots(builders.length + localBuilders + onAws.length, jobs);
  return [
    ...builders.map((builder) => {
      const { name, vendor, machine = name } = builder;
      return { name, vendor, machine, slots: builder.slots ?? slots };
    }),
    ...localBuilderNames(localBuilders).map((name) => ({ name, machine: name, slots })),
    ...onAws,
  ];
}

function awsBuilders(config: AwsFleetConfig): PlannedBuilder[] {
  const { slots, cacheGib } = builderSizes[config.size];
  const storageGiB = config.disk === "gp3" ? (config.diskGib ?? cacheGib) : undefined;
  return awsVendors.flatMap((vendor) =>
    Array.from({ length: config.builders[vendor] }, (_, index) => ({
      name: `${vendor}-${index + 1}`,
      vendor: cpuVendorIds[vendor],
      machine: instanceType(config, vendor),
      ...{ slots, storageGiB },
    })),
  );
}

function machinesOf(builders: readonly PlannedBuilder[]): PricedMachines[] {
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

function witnessesOf({ reproduceOn = [] }: PlannedBy): number {
  return Math.max(1, reproduceOn.length);
}

/** Where each image is built on several vendors' machines, those with the fewest slots hold the others up. */
function imagesAtOnce(builders: readonly PlannedBuilder[], config: PlannedBy, times = 1): number {
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
      // Whose CPU a machine has may be known only once it is asked.
    ) || evenly;
  const least = reproduceOn ? Math.min(...reproduceOn.map(ofTarget)) : all;
  return Math.max(1, Math.min(least, Math.floor(jobs / witnessesOf(config))));
}

/** So many machines of one type for each witness. */
function fleetOf(type: string, count: number, config: PlannedBy): PricedFleet {
  const witnesses = witnessesOf(config);
  const size = sizeOfInstanceType(type);
  const slots = size?.slots ?? defaultSlots(2, undefined);
  const machines = { machine: type, count: count * witnesses, slots, storageGiB: size?.cacheGib };
  return { machines: [machines], witnesses, atOnce: slots * count };
}
