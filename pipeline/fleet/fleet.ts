import { totalmem } from "node:os";
import { isDeepStrictEqual } from "node:util";
import pLimit, { type LimitFunction } from "p-limit";
import { type Heartbeat, type WatchdogRules, withWatchdog } from "../../buildkit/client/build-watchdog.ts";
import type { DaemonInfo } from "../../buildkit/client/daemon-query.ts";
import { SolveError } from "../../buildkit/client/solve-error.ts";
import { matchPlatforms } from "../../buildkit/scheduler/platform-match.ts";
import {
  BuilderLostError,
  type Job,
  OutOfMemoryError,
  type ScheduledBuilder,
  Scheduler,
} from "../../buildkit/scheduler/scheduler.ts";
import type { BuilderInputs } from "../../config/builder-inputs.ts";
import { defaultSlots } from "../../config/fleet-plan.ts";
import type { Paths } from "../../lib/paths.ts";
import type { Operation } from "../operation.ts";
import { type BuilderConnection, connectToBuilder, queryBuilder } from "./builder-connection.ts";

export type FleetOptions = {
  readonly paths: Paths;
  /** Names of the builders that the program registers; or the one builder of a run without a fleet. */
  readonly expected: readonly string[] | BuilderInputs;
  /** How many images are built at once in all. */
  readonly jobs?: number | undefined;
  /** Minutes without a sign of life after which a build is given up on its builder. */
  readonly stall: number;
  /** How often a builder at work is asked whether it still answers; {@link WatchdogRules} says how often where not given. */
  readonly watch?: Pick<WatchdogRules, "pulse">;
  /** Ends the opening of builders, which must not end with the one work that asked for it first. */
  readonly cancelled: AbortSignal;
};

/** Seconds until every builder that the configuration names must have been registered by the program. */
const registration = 900;

/** Seconds to wait for lost builders where no other is left: some machines are started again, a user's one daemon hardly. */
const [fleetPatience, lonePatience] = [600, 30];

/** What builders are there, as the engine names them in Check, and which image is built on which of them. */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #builders = new Map<string, BuilderInputs>();
  readonly #opened = new Map<string, Promise<BuilderConnection>>();
  readonly #benches = new Map<string, BuilderConnection>();
  readonly #waiting = new Set<() => void>();
  readonly #atOnce: LimitFunction;
  #members: readonly ScheduledBuilder[] = [];
  #schedule: Promise<Scheduler> | undefined;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#atOnce = pLimit(options.jobs ?? Number.POSITIVE_INFINITY);
    if ("name" in options.expected) this.register(options.expected);
  }

  /** How many builders there are to be. */
  get size(): number {
    return this.#names().length;
  }

  /** How many images are built at once, as far as it is known yet. */
  get slots(): number {
    const sum = this.#names().reduce((slots, name) => slots + this.#slotsOf(this.#builders.get(name)), 0);
    return Math.min(sum, this.#options.jobs ?? sum);
  }

  /** Makes a builder known, or known anew where something about it changed. */
  register(builder: BuilderInputs): void {
    const { name } = builder;
    if (isDeepStrictEqual(this.#builders.get(name), builder)) return;
    this.#builders.set(name, builder);
    this.#opened.delete(name);
    for (const notify of this.#waiting) notify();
  }

  /** Opens a builder, once; one that could not be opened is tried again by the next who asks. */
  connect(name: string, operation: Operation): Promise<BuilderConnection> {
    const opened = this.#opened.get(name);
    if (opened) return opened;
    const builder = this.#builders.get(name);
    if (!builder) return Promise.reject(new Error(`the fleet has no builder ${name}`));
    const before = this.#benches.get(name);
    const opening = connectToBuilder(builder, this.#options.paths, {
      ...operation,
      signal: this.#options.cancelled,
    });
    this.#opened.set(name, opening);
    opening.then(
      (bench) => this.#benches.set(name, bench),
      () => this.#opened.get(name) === opening && this.#opened.delete(name),
    );
    if (before) void opening.finally(() => before.close()).catch(() => undefined);
    return opening;
  }

  /** What a builder says of itself; undefined for a private one, which is there whenever it is needed. */
  async query(builder: BuilderInputs, signal: AbortSignal): Promise<DaemonInfo | undefined> {
    return await queryBuilder(builder, this.#options.paths, signal);
  }

  /** The builders of this name or CPU vendor. Throws where the fleet has none. */
  async findBuilders(target: string, operation: Operation): Promise<string[]> {
    await this.#ready(operation);
    const found = this.#names().filter(
      (name) => name === target || this.#vendorOf(name)?.toLowerCase() === target.toLowerCase(),
    );
    if (found.length > 0) return found;
    const known = this.#names().map((name) => `${name} (${this.#vendorOf(name) ?? "not reached"})`);
    throw new Error(
      `stagex:reproduceOn asks for ${target}, and no builder has that name or CPU vendor: there is ${known.join(", ")}`,
    );
  }

  /** What the ledger calls the builder of this name; none where there is no such builder, or it does not answer. */
  async findBuilderIds(name: string, operation: Operation): Promise<string[]> {
    if (!this.#builders.has(name)) return [];
    const bench = await this.connect(name, operation).catch(() => undefined);
    return bench ? [bench.id] : [];
  }

  /**
   * Has a job done on one of the builders. `build` may be called again, on another one, where the first is lost; what it throws of the
   * builder's own troubles counts as such a loss. With its `delivered` the builder takes the next job. It is also called again where the
   * kernel killed it for want of memory: then the job has the builder to itself, where there is most memory.
   */
  async run<Result>(
    job: Job,
    build: (bench: BuilderConnection, signal: AbortSignal, stir: Heartbeat) => Promise<Result>,
    operation: Operation,
  ): Promise<{ result: Result; bench: BuilderConnection }> {
    const schedule = await this.#ready(operation);
    if (schedule.running >= this.slots) operation.progress("waiting for a build slot");
    let wasStarved: string | undefined;
    const attempt = async (name: string, freed: () => void, signal: AbortSignal) => {
      if (wasStarved !== undefined)
        operation.report(
          "warning",
          `${job.image}: the kernel killed a step on ${wasStarved} for want of memory; it is built again by itself on ${name}`,
        );
      wasStarved = undefined;
      return await this.#buildOn(name, job, build, freed, { ...operation, signal }).catch(
        (error: unknown) => {
          if (!(error instanceof SolveError && error.isOutOfMemory) || signal.aborted) throw error;
          wasStarved = name;
          throw new OutOfMemoryError(error);
        },
      );
    };
    return await schedule.run(
      { ...job, platforms: this.#offered(job) },
      ({ name }, signal, free) => this.#whileCounted(free, (freed) => attempt(name, freed, signal)),
      operation.signal,
    );
  }

  /** Counts it among those that are built at once, until it says that it needs its builder no more. */
  async #whileCounted<Result>(
    free: () => void,
    build: (free: () => void) => Promise<Result>,
  ): Promise<Result> {
    const { promise: building, resolve, reject } = Promise.withResolvers<Result>();
    const counted = this.#atOnce(
      () =>
        new Promise<void>((freed) => {
          const giveUp = () => {
            free();
            freed();
          };
          build(giveUp).then(resolve, reject).finally(freed);
        }),
    );
    counted.catch(reject);
    return await building;
  }

  /** Notes that a builder has an image in its cache, as it has just built it. */
  async noteImage(bench: BuilderConnection, digest: string): Promise<void> {
    (await this.#schedule)?.noteCached(bench.name, digest);
  }

  async close(): Promise<void> {
    const schedule = await this.#schedule?.catch(() => undefined);
    schedule?.close();
    await Promise.allSettled([...this.#opened.values()]);
    // All at once: the engine kills a provider that takes more than five seconds.
    await Promise.all([...this.#benches.values()].map((bench) => bench.close()));
  }

  async #buildOn<Result>(
    name: string,
    { image }: Job,
    build: (bench: BuilderConnection, signal: AbortSignal, stir: Heartbeat) => Promise<Result>,
    free: () => void,
    operation: Operation,
  ): Promise<{ result: Result; bench: BuilderConnection }> {
    operation.signal.throwIfAborted();
    const bench = await this.#benchFor(name, operation);
    const rules = { ...this.#options.watch, stall: this.#options.stall * 60 };
    try {
      const watched = (signal: AbortSignal, stir: Heartbeat) =>
        build(bench, signal, (sign) => {
          stir(sign);
          if (sign === "delivered") free();
        });
      return { bench, result: await withWatchdog(bench.endpoint, rules, watched, operation.signal) };
    } catch (error) {
      const trouble = operation.signal.aborted ? undefined : this.#troubleIn(error);
      if (trouble === undefined) throw error;
      const next = this.size > 1 ? "trying elsewhere" : "waiting for it";
      operation.report("warning", `${image}: builder ${name} is lost, ${next}: ${trouble}`);
      throw new BuilderLostError(trouble, { cause: error });
    }
  }

  async #benchFor(name: string, operation: Operation): Promise<BuilderConnection> {
    try {
      return await this.connect(name, operation);
    } catch (error) {
      operation.signal.throwIfAborted();
      throw new BuilderLostError(messageOf(error), { cause: error });
    }
  }

  /** The schedule, made as soon as one builder answers and all others' platforms are known. */
  #ready(operation: Operation): Promise<Scheduler> {
    this.#schedule ??= this.#makeSchedule(operation).catch((error: unknown) => {
      this.#schedule = undefined;
      throw error;
    });
    return this.#schedule;
  }

  async #makeSchedule(operation: Operation): Promise<Scheduler> {
    await this.#registered(operation);
    const openings = new Map(this.#names().map((name) => [name, this.connect(name, operation)] as const));
    const failures = new Map<string, unknown>();
    for (const [name, opening] of openings) opening.catch((error: unknown) => failures.set(name, error));
    const untold = [...openings].filter(([name]) => this.#builders.get(name)?.platforms === undefined);
    await Promise.allSettled(untold.map(([, opening]) => opening));
    await Promise.any(openings.values()).catch(() => Promise.reject(this.#nobody(failures)));
    const members: ScheduledBuilder[] = [];
    this.#members = members;
    for (const name of this.#names()) {
      const builder = this.#builders.get(name);
      const platforms = this.#benches.get(name)?.platforms ?? builder?.platforms;
      if (platforms)
        members.push({ name, platforms, slots: this.#slotsOf(builder), memory: this.#memoryOf(builder) });
      else operation.report("warning", `builder ${name} is left out: ${messageOf(failures.get(name))}`);
    }
    const schedule = new Scheduler(members, {
      lostBuilderTimeout: this.size > 1 ? fleetPatience : lonePatience,
      probe: async ({ name }, signal) => await (await this.connect(name, operation)).revive(signal),
    });
    for (const { name } of members) {
      if (!this.#benches.has(name))
        schedule.markLost(name, messageOf(failures.get(name) ?? "it does not answer yet"));
    }
    return schedule;
  }

  #nobody(failures: ReadonlyMap<string, unknown>): unknown {
    const [first] = failures.values();
    if (this.size === 1) return first;
    const reasons = [...failures].map(([name, error]) => `  ${name}: ${messageOf(error)}`);
    return new Error(`none of the builders can be used:\n${reasons.join("\n")}`);
  }

  /** Waits until the program has registered all builders that the configuration names. */
  async #registered(operation: Operation): Promise<void> {
    const missing = () => this.#names().filter((name) => !this.#builders.has(name));
    if (missing().length === 0) return;
    operation.progress(`waiting for ${missing().join(", ")}`);
    const late = AbortSignal.any([this.#options.cancelled, AbortSignal.timeout(registration * 1000)]);
    await new Promise<void>((resolve) => {
      const look = () => {
        if (missing().length > 0 && !late.aborted) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      late.addEventListener("abort", look, { once: true });
      look();
    });
    this.#options.cancelled.throwIfAborted();
    if (missing().length === this.size) {
      throw new Error(
        `the program registered none of its builders (${missing().join(", ")}) within ${registration / 60} minutes`,
      );
    }
  }

  #names(): readonly string[] {
    const { expected } = this.#options;
    return "name" in expected ? [expected.name] : expected;
  }

  /** Bytes for all its builds; of private daemons an equal share each of what a step may have of this machine. */
  #memoryOf(builder: BuilderInputs | undefined): number | undefined {
    if (!builder?.address.startsWith("private:")) return builder?.memory;
    const sharers = [...this.#builders.values()].filter(({ address }) => address.startsWith("private:"));
    return builder.memory ?? (totalmem() - totalmem() / 16) / sharers.length;
  }

  #slotsOf(builder: BuilderInputs | undefined): number {
    return builder?.slots ?? defaultSlots(this.size, this.#options.jobs);
  }

  /**
   * The job's platforms without those that no builder runs: what its steps run may be a compiler for another machine, and BuildKit says so
   * if it is not. linux/386 stays: no emulator is to be tried for it.
   */
  #offered({ platforms, allowedBuilders: among }: Job): readonly string[] {
    if (platforms.length === 0) return platforms;
    const members = this.#members.filter(({ name }) => among?.includes(name) ?? true);
    const isRun = (platform: string) =>
      platform === "linux/386" ||
      members.some((member) => matchPlatforms(member.platforms, [platform]) !== "none");
    const run = platforms.filter(isRun);
    return run.length > 0 ? run : (members[0]?.platforms.slice(0, 1) ?? platforms);
  }

  /** Why an error is the builder's and not the build's; undefined where it is the build's, or no other builder could do better. */
  #troubleIn(error: unknown): string | undefined {
    if (error instanceof BuilderLostError) return error.message;
    if (!(error instanceof SolveError) || !error.infrastructureFailure) return undefined;
    return error.infrastructureFailure.kind === "disk" && this.size === 1
      ? undefined
      : `${error.infrastructureFailure.message} (the log: ${error.log})`;
  }

  #vendorOf(name: string): string | undefined {
    return this.#builders.get(name)?.vendor ?? this.#benches.get(name)?.facts.cpuVendor;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
