import { totalmem } from "node:os";
import { isDeepStrictEqual } from "node:util";
import pLimit, { type LimitFunction } from "p-limit";
import { type Heartbeat, type WatchdogRules, withWatchdog } from "../../buildkit/client/build-watchdog.ts";
import type { DaemonInfo } from "../../buildkit/client/daemon-query.ts";
import { SolveError } from "../../buildkit/client/solve-error.ts";
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
import { describeBuilderFailure, messageOf, noBuilderError } from "./builder-failure.ts";
import { offeredPlatforms } from "./platform-coverage.ts";

/** Settings of a fleet. */
export type FleetOptions = {
  readonly paths: Paths;
  /**
   * Names of the builders that the program registers; or the one builder of a run without a fleet.
   */
  readonly expected: readonly string[] | BuilderInputs;
  /** Images that are built at once on all builders together. */
  readonly jobs?: number | undefined;
  /** Minutes without a sign of life after which a build leaves its builder. */
  readonly stall: number;
  /**
   * Interval at which a busy builder is asked for an answer; that of {@link WatchdogRules} by
   * default.
   */
  readonly watch?: Pick<WatchdogRules, "pulse">;
  /**
   * Ends the opening of builders. The signal of a single operation must not: others wait for the
   * same builder.
   */
  readonly cancelled: AbortSignal;
};

/** In seconds: the program must have registered every configured builder by then. */
const registrationTimeout = 900;

/**
 * In seconds: jobs wait so long for lost builders. Machines of a fleet are often started again, a
 * user's only daemon rarely.
 */
const lostBuilderTimeout = { fleet: 600, single: 30 };

/**
 * The builders, as the engine registers them in Check, and the scheduler that distributes images
 * among them.
 */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #builders = new Map<string, BuilderInputs>();
  readonly #opened = new Map<string, Promise<BuilderConnection>>();
  readonly #connections = new Map<string, BuilderConnection>();
  readonly #waiting = new Set<() => void>();
  readonly #atOnce: LimitFunction;
  #members: readonly ScheduledBuilder[] = [];
  #scheduling: Promise<Scheduler> | undefined;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#atOnce = pLimit(options.jobs ?? Number.POSITIVE_INFINITY);
    if ("name" in options.expected) this.register(options.expected);
  }

  /** Number of expected builders. */
  get size(): number {
    return this.#names().length;
  }

  /** Number of images that are built at once, as far as the builders are known. */
  get slots(): number {
    const sum = this.#names().reduce((slots, name) => slots + this.#slotsOf(this.#builders.get(name)), 0);
    return Math.min(sum, this.#options.jobs ?? sum);
  }

  /** Adds a builder; one that has changed replaces the former and is opened again. */
  register(builder: BuilderInputs): void {
    const { name } = builder;
    if (isDeepStrictEqual(this.#builders.get(name), builder)) return;
    this.#builders.set(name, builder);
    this.#opened.delete(name);
    for (const notify of this.#waiting) notify();
  }

  /** Opens a builder once. After a failure the next call tries again. */
  connect(name: string, operation: Operation): Promise<BuilderConnection> {
    const opened = this.#opened.get(name);
    if (opened) return opened;
    const builder = this.#builders.get(name);
    if (!builder) return Promise.reject(new Error(`the fleet has no builder ${name}`));
    const before = this.#connections.get(name);
    const opening = connectToBuilder(builder, this.#options.paths, {
      ...operation,
      signal: this.#options.cancelled,
    });
    this.#opened.set(name, opening);
    opening.then(
      (connection) => this.#connections.set(name, connection),
      () => this.#opened.get(name) === opening && this.#opened.delete(name),
    );
    if (before) void opening.finally(() => before.close()).catch(() => undefined);
    return opening;
  }

  /**
   * Asks a builder about itself. Returns undefined for a private one, which is started when it is
   * needed.
   */
  async query(builder: BuilderInputs, signal: AbortSignal): Promise<DaemonInfo | undefined> {
    return await queryBuilder(builder, this.#options.paths, signal);
  }

  /**
   * Returns the names of the builders of this name or CPU vendor.
   * @throws Error where there is none
   */
  async findBuilders(target: string, operation: Operation): Promise<string[]> {
    await this.#scheduler(operation);
    const found = this.#names().filter(
      (name) => name === target || this.#vendorOf(name)?.toLowerCase() === target.toLowerCase(),
    );
    if (found.length > 0) return found;
    const known = this.#names().map((name) => `${name} (${this.#vendorOf(name) ?? "not reached"})`);
    throw new Error(
      `stagex:reproduceOn asks for ${target}, and no builder has that name or CPU vendor: there is ${known.join(", ")}`,
    );
  }

  /**
   * Returns the ledger's ID of the builder of this name; none where it is missing or does not
   * answer.
   */
  async findBuilderIds(name: string, operation: Operation): Promise<string[]> {
    if (!this.#builders.has(name)) return [];
    const connection = await this.connect(name, operation).catch(() => undefined);
    return connection ? [connection.id] : [];
  }

  /**
   * Runs a job on one of the builders. If that is lost, or `build` throws an infrastructure
   * failure, `build` is called again on another. If the kernel killed a step for want of memory, it
   * is called again on the builder with the most memory, which does nothing else. With the
   * heartbeat `delivered` the builder takes the next job.
   */
  async run<Result>(
    job: Job,
    build: (connection: BuilderConnection, signal: AbortSignal, heartbeat: Heartbeat) => Promise<Result>,
    operation: Operation,
  ): Promise<{ result: Result; builder: BuilderConnection }> {
    const scheduler = await this.#scheduler(operation);
    if (scheduler.running >= this.slots) operation.progress("waiting for a build slot");
    let outOfMemoryOn: string | undefined;
    const attempt = async (name: string, freed: () => void, signal: AbortSignal) => {
      if (outOfMemoryOn !== undefined)
        operation.report(
          "warning",
          `${job.image}: the kernel killed a step on ${outOfMemoryOn} for want of memory; it is built again by itself on ${name}`,
        );
      outOfMemoryOn = undefined;
      return await this.#buildOn(name, job, build, freed, { ...operation, signal }).catch(
        (error: unknown) => {
          if (!(error instanceof SolveError && error.isOutOfMemory) || signal.aborted) throw error;
          outOfMemoryOn = name;
          throw new OutOfMemoryError(error);
        },
      );
    };
    return await scheduler.run(
      { ...job, platforms: offeredPlatforms(job, this.#members) },
      ({ name }, signal, free) => this.#whileCounted(free, (freed) => attempt(name, freed, signal)),
      operation.signal,
    );
  }

  /**
   * Counts a build among those at once until it calls `free`, as it needs its builder no longer.
   */
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

  /** Notes that a builder has just built an image and so has it in its cache. */
  async noteImage(connection: BuilderConnection, digest: string): Promise<void> {
    (await this.#scheduling)?.noteCached(connection.name, digest);
  }

  /** Ends the scheduler and closes all builders. */
  async close(): Promise<void> {
    const scheduler = await this.#scheduling?.catch(() => undefined);
    scheduler?.close();
    await Promise.allSettled([...this.#opened.values()]);
    // All at once: the engine kills a provider that takes more than five seconds.
    await Promise.all([...this.#connections.values()].map((connection) => connection.close()));
  }

  async #buildOn<Result>(
    name: string,
    { image }: Job,
    build: (connection: BuilderConnection, signal: AbortSignal, heartbeat: Heartbeat) => Promise<Result>,
    free: () => void,
    operation: Operation,
  ): Promise<{ result: Result; builder: BuilderConnection }> {
    operation.signal.throwIfAborted();
    const connection = await this.#connectionTo(name, operation);
    const rules = { ...this.#options.watch, stall: this.#options.stall * 60 };
    try {
      const watched = (signal: AbortSignal, heartbeat: Heartbeat) =>
        build(connection, signal, (sign) => {
          heartbeat(sign);
          if (sign === "delivered") free();
        });
      return {
        builder: connection,
        result: await withWatchdog(connection.endpoint, rules, watched, operation.signal),
      };
    } catch (error) {
      const failure = operation.signal.aborted ? undefined : describeBuilderFailure(error, this.size === 1);
      if (failure === undefined) throw error;
      const next = this.size > 1 ? "trying elsewhere" : "waiting for it";
      operation.report("warning", `${image}: builder ${name} is lost, ${next}: ${failure}`);
      throw new BuilderLostError(failure, { cause: error });
    }
  }

  async #connectionTo(name: string, operation: Operation): Promise<BuilderConnection> {
    try {
      return await this.connect(name, operation);
    } catch (error) {
      operation.signal.throwIfAborted();
      throw new BuilderLostError(messageOf(error), { cause: error });
    }
  }

  /**
   * Returns the scheduler, which is made as soon as one builder answers and the platforms of all
   * others are known.
   */
  #scheduler(operation: Operation): Promise<Scheduler> {
    this.#scheduling ??= this.#createScheduler(operation).catch((error: unknown) => {
      this.#scheduling = undefined;
      throw error;
    });
    return this.#scheduling;
  }

  async #createScheduler(operation: Operation): Promise<Scheduler> {
    await this.#waitForRegistration(operation);
    const openings = new Map(this.#names().map((name) => [name, this.connect(name, operation)] as const));
    const failures = new Map<string, unknown>();
    for (const [name, opening] of openings) opening.catch((error: unknown) => failures.set(name, error));
    const withoutPlatforms = [...openings].filter(
      ([name]) => this.#builders.get(name)?.platforms === undefined,
    );
    await Promise.allSettled(withoutPlatforms.map(([, opening]) => opening));
    await Promise.any(openings.values()).catch(() => Promise.reject(noBuilderError(failures)));
    const members: ScheduledBuilder[] = [];
    this.#members = members;
    for (const name of this.#names()) {
      const builder = this.#builders.get(name);
      const platforms = this.#connections.get(name)?.platforms ?? builder?.platforms;
      if (platforms)
        members.push({ name, platforms, slots: this.#slotsOf(builder), memory: this.#memoryOf(builder) });
      else operation.report("warning", `builder ${name} is left out: ${messageOf(failures.get(name))}`);
    }
    const scheduler = new Scheduler(members, {
      lostBuilderTimeout: this.size > 1 ? lostBuilderTimeout.fleet : lostBuilderTimeout.single,
      probe: async ({ name }, signal) => await (await this.connect(name, operation)).revive(signal),
    });
    for (const { name } of members) {
      if (!this.#connections.has(name))
        scheduler.markLost(name, messageOf(failures.get(name) ?? "it does not answer yet"));
    }
    return scheduler;
  }

  /** Waits until the program has registered all builders that the configuration names. */
  async #waitForRegistration(operation: Operation): Promise<void> {
    const missing = () => this.#names().filter((name) => !this.#builders.has(name));
    if (missing().length === 0) return;
    operation.progress(`waiting for ${missing().join(", ")}`);
    const late = AbortSignal.any([this.#options.cancelled, AbortSignal.timeout(registrationTimeout * 1000)]);
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
        `the program registered none of its builders (${missing().join(", ")}) within ${registrationTimeout / 60} minutes`,
      );
    }
  }

  #names(): readonly string[] {
    const { expected } = this.#options;
    return "name" in expected ? [expected.name] : expected;
  }

  /**
   * Returns the bytes for all builds on a builder. Private daemons share this machine's memory
   * equally, less what is left to the system.
   */
  #memoryOf(builder: BuilderInputs | undefined): number | undefined {
    if (!builder?.address.startsWith("private:")) return builder?.memory;
    const sharers = [...this.#builders.values()].filter(({ address }) => address.startsWith("private:"));
    return builder.memory ?? (totalmem() - totalmem() / 16) / sharers.length;
  }

  #slotsOf(builder: BuilderInputs | undefined): number {
    return builder?.slots ?? defaultSlots(this.size, this.#options.jobs);
  }

  #vendorOf(name: string): string | undefined {
    return this.#builders.get(name)?.vendor ?? this.#connections.get(name)?.facts.cpuVendor;
  }
}
