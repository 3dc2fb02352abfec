import { expect, test } from "vitest";
import {
  BuilderLostError,
  type Job,
  NoBuilderError,
  OutOfMemoryError,
  type ScheduledBuilder,
  Scheduler,
  type SchedulerEvent,
  type SchedulerOptions,
} from "../../../../buildkit/scheduler/scheduler.ts";
import { VirtualClock } from "../../../support/scheduling/virtual-clock.ts";

const amd64 = ["linux/amd64", "linux/386"];
const arm64 = ["linux/arm64"];
const gibibyte = 2 ** 30;

function builder(name: string, more: Partial<ScheduledBuilder> = {}): ScheduledBuilder {
  return { name, platforms: amd64, slots: 1, ...more };
}

function job(image: string, seconds: number, more: Partial<Job> = {}): Job {
  return { key: image, image, platforms: ["linux/amd64"], seconds, remaining: seconds, inputs: [], ...more };
}

/** A scheduler on a simulated clock, and the log of its events. */
class Day {
  readonly clock = new VirtualClock();
  readonly log: string[] = [];
  readonly scheduler: Scheduler;
  readonly #signal = new AbortController().signal;

  constructor(builders: readonly ScheduledBuilder[], options: SchedulerOptions = {}) {
    this.scheduler = new Scheduler(builders, {
      ...options,
      clock: this.clock,
      onEvent: (event) => {
        this.log.push(`${this.clock.now()} ${line(event)}`);
        options.onEvent?.(event);
      },
    });
  }

  /** Runs work that takes as long as expected. */
  do(wanted: Job, signal = this.#signal): Promise<string> {
    const work = async (on: ScheduledBuilder, aborted: AbortSignal) => {
      await this.clock.sleep(wanted.seconds ?? 0, aborted);
      return `${wanted.image} on ${on.name}`;
    };
    return this.scheduler.run(wanted, work, signal);
  }

  /** Runs this work. */
  doing(wanted: Job, work: (on: ScheduledBuilder, signal: AbortSignal) => Promise<string>): Promise<string> {
    return this.scheduler.run(wanted, work, this.#signal);
  }

  all(...runs: Promise<string>[]): Promise<string[]> {
    return this.clock.until(Promise.all(runs));
  }
}

function line(event: SchedulerEvent): string {
  if (event.kind === "started" || event.kind === "ended")
    return `${event.kind} ${event.job.image} ${event.builder}`;
  if (event.kind === "requeued") return `requeued ${event.job.image}`;
  return `${event.kind} ${event.builder}`;
}

test("starts the job with the longest remaining path first, whenever it was requested", async () => {
  const day = new Day([builder("a")]);
  await day.all(
    day.do(job("short", 5)),
    day.do(job("first-of-many", 1, { remaining: 100 })),
    day.do(job("long", 10)),
  );
  expect(day.log.filter((entry) => entry.includes("started"))).toEqual([
    "0 started first-of-many a",
    "1 started long a",
    "11 started short a",
  ]);
});

test("fills the slots of all builders, the emptiest builder first", async () => {
  const day = new Day([builder("a", { slots: 2 }), builder("b", { slots: 2 })]);
  const done = day.all(...["p", "q", "r", "s", "t"].map((name) => day.do(job(name, 10))));
  await done;
  expect(day.log.filter((entry) => entry.includes("started")).map((entry) => entry.slice(-1))).toEqual([
    ..."abab",
    "a",
  ]);
  expect(day.clock.now()).toBe(20);
});

test("sends each architecture to its own machines, and linux/386 to x86 only", async () => {
  const day = new Day([builder("arm", { platforms: ["linux/arm64", "linux/386"] }), builder("intel")]);
  const results = await day.all(
    day.do(job("x", 1)),
    day.do(job("y", 1, { platforms: ["linux/arm64"] })),
    day.do(job("z", 1, { platforms: ["linux/386"] })),
  );
  expect(results).toEqual(["x on intel", "y on arm", "z on intel"]);
});

test("refuses a job that runs i386 programs in a fleet of arm64 machines, and sends it to x86 in a mixed one", async () => {
  const staged = job("go", 1, { platforms: ["linux/386"] });
  const both = job("stage3", 1, { platforms: ["linux/386", "linux/arm64"] });
  const arm = builder("arm", { platforms: ["linux/arm64", "linux/386", "linux/amd64"], slots: 9 });
  const mixed = new Day([arm, builder("intel")]);
  expect(await mixed.all(mixed.do(staged))).toEqual(["go on intel"]);
  await expect(mixed.do(both)).rejects.toThrow(
    /it needs linux\/386 and linux\/arm64;.*One builder must run all of these/,
  );
  await expect(new Day([arm]).do(staged)).rejects.toThrow(/it needs linux\/386; there is arm/);
  const emulating = new Day([arm, builder("intel", { platforms: [...amd64, "linux/arm64"] })]);
  expect(await emulating.all(emulating.do(both))).toEqual(["stage3 on intel"]);
});

test("sends a job that runs no program to any machine", async () => {
  const day = new Day([builder("arm", { platforms: arm64 })]);
  expect(await day.all(day.do(job("files", 1, { platforms: [] })))).toEqual(["files on arm"]);
});

test("emulates an architecture only in fleets without a machine of it", async () => {
  const emulating = builder("emulating", { platforms: [...amd64, "linux/arm64"] });
  const wanted = job("x", 10, { platforms: ["linux/arm64"] });
  const alone = new Day([emulating]);
  expect(await alone.all(alone.do(wanted))).toEqual(["x on emulating"]);
  const accompanied = new Day([emulating, builder("arm", { platforms: arm64 })]);
  expect(
    await accompanied.all(accompanied.do(wanted), accompanied.do({ ...wanted, key: "y", image: "y" })),
  ).toEqual(["x on arm", "y on arm"]);
});

test("refuses a job whose only native machine is lost for good, and does not emulate it", async () => {
  const emulating = builder("emulating", { platforms: [...amd64, "linux/arm64"] });
  const day = new Day([emulating, builder("arm", { platforms: arm64 })], {
    probe: () => Promise.reject(new Error("gone")),
    lostBuilderTimeout: 60,
  });
  day.scheduler.markLost("arm", "gone");
  const refused = day.do(job("x", 10, { platforms: ["linux/arm64"] })).catch((error: unknown) => error);
  const error = await day.clock.until(refused);
  expect(error).toBeInstanceOf(NoBuilderError);
  expect(String(error)).toContain("arm");
  expect(day.clock.now()).toBe(60);
  expect(day.log.filter((entry) => entry.includes("started"))).toEqual([]);
});

test("refuses an image that no builder can build at once, and lists the builders", async () => {
  const day = new Day([builder("a")]);
  const refused = day.do(job("x", 1, { platforms: ["linux/riscv64"] }));
  await expect(refused).rejects.toThrow(NoBuilderError);
  await expect(refused).rejects.toThrow(
    /x: no builder of the fleet can build it: it needs linux\/riscv64; there is a \(linux\/amd64, linux\/386\)/,
  );
  await expect(day.do(job("x", 1, { allowedBuilders: ["b"] }))).rejects.toThrow(/one of b/);
});

test("starts only jobs that fit into the builder's free memory", async () => {
  const day = new Day([builder("a", { slots: 4, memory: 10 * gibibyte })]);
  await day.all(
    day.do(job("x", 10, { memory: 6 * gibibyte, remaining: 30 })),
    day.do(job("y", 10, { memory: 6 * gibibyte, remaining: 20 })),
    day.do(job("z", 10, { memory: 4 * gibibyte })),
  );
  expect(day.log.filter((entry) => entry.includes("started"))).toEqual([
    "0 started x a",
    "0 started z a",
    "10 started y a",
  ]);
});

test("counts no memory for steps in the builder's cache", async () => {
  const day = new Day([builder("a", { slots: 3, memory: 10 * gibibyte })]);
  const part = (name: string) =>
    job(name, 100, { memory: 8 * gibibyte, shared: { name: "llvm", seconds: 99 } });
  const other = job("z", 500, { memory: 8 * gibibyte, remaining: 1 });
  await day.all(...["x", "y", "w"].map((name) => day.do(part(name))), day.do(other));
  expect(day.log.filter((entry) => entry.includes("started"))).toEqual([
    "0 started x a",
    "100 started y a",
    "100 started w a",
    "100 started z a",
  ]);
});

test("gives a job that exceeds every builder's memory the largest builder to itself", async () => {
  const day = new Day([
    builder("small", { slots: 2, memory: 4 * gibibyte }),
    builder("large", { slots: 2, memory: 8 * gibibyte }),
    builder("untold", { slots: 2 }),
  ]);
  const among = ["small", "large"];
  await day.all(
    day.do(job("x", 10, { memory: 9 * gibibyte, remaining: 30, allowedBuilders: among })),
    day.do(job("y", 10, { memory: gibibyte, remaining: 20, allowedBuilders: ["large"] })),
  );
  expect(day.log.filter((entry) => entry.includes("started"))).toEqual([
    "0 started x large",
    "10 started y large",
  ]);
});

/** Runs work that takes 10 s, and is killed for lack of memory on these builders. */
function starving(day: Day, wanted: Job, names: readonly string[], times = Number.POSITIVE_INFINITY) {
  let killed = 0;
  return day.doing(wanted, async (on, signal) => {
    await day.clock.sleep(10, signal);
    if (names.includes(on.name) && killed++ < times)
      throw new OutOfMemoryError(new Error(`killed on ${on.name}`));
    return `${wanted.image} on ${on.name}`;
  });
}

test("gives a job that was killed for lack of memory the largest builder to itself, before other jobs", async () => {
  const day = new Day([
    builder("small", { memory: 2 * gibibyte }),
    builder("large", { slots: 2, memory: 8 * gibibyte }),
    builder("largest", { platforms: arm64, memory: 99 * gibibyte }),
  ]);
  const onLarge = { allowedBuilders: ["large"], remaining: 1000 };
  const results = day.all(
    starving(day, job("x", 10, { allowedBuilders: ["small", "large"], remaining: 2000 }), ["small"]),
    day.do(job("p", 15, onLarge)),
    day.do(job("q", 25, onLarge)),
    day.do(job("r", 5, onLarge)),
  );
  expect(await results).toContain("x on large");
  const after = day.log.slice(day.log.findIndex((entry) => entry.includes("requeued")));
  expect(after.filter((entry) => !entry.includes("ended"))).toEqual([
    "10 requeued x",
    "25 started x large",
    "35 started r large",
  ]);
});

test("starts no other job on the builder of an exclusive job", async () => {
  const day = new Day([builder("a", { slots: 3 })]);
  const first = starving(day, job("x", 10, { remaining: 50 }), ["a"], 1);
  const rest = ["p", "q", "r"].map((name) => day.do(job(name, 10)));
  await day.all(first, ...rest);
  expect(day.log.filter((entry) => entry.includes("started"))).toEqual([
    "0 started x a",
    "0 started p a",
    "0 started q a",
    "10 started x a",
    "20 started r a",
  ]);
});

test("fails a job that was killed although it had the largest builder to itself", async () => {
  const day = new Day([builder("small", { memory: gibibyte }), builder("large", { memory: 8 * gibibyte })]);
  const alone = starving(day, job("x", 10, { allowedBuilders: ["large"] }), ["large"]);
  await expect(day.clock.until(alone)).rejects.toThrow("killed on large");
  const twice = starving(day, job("y", 10, { memory: gibibyte / 2 }), ["small", "large"]);
  await expect(day.clock.until(twice)).rejects.toThrow(/killed on (small|large)/);
  expect(day.log.filter((entry) => entry.includes("started y")).at(-1)).toMatch(/large$/);
  expect(day.log.filter((entry) => entry.includes("started y")).length).toBeLessThanOrEqual(2);
});

test("fails a job that is killed again and again while the largest builder comes and goes", async () => {
  const day = new Day([builder("small", { memory: gibibyte }), builder("large", { memory: 8 * gibibyte })], {
    probe: async () => {},
    onEvent: ({ kind }) => {
      if (kind === "requeued") day.scheduler.markLost("large", "it was given notice");
    },
  });
  day.scheduler.markLost("large", "it was given notice");
  let runs = 0;
  const killed = day.doing(job("x", 10), async (on, signal) => {
    await day.clock.sleep(1000, signal);
    if (runs++ < 20) throw new OutOfMemoryError(new Error(`killed on ${on.name}`));
    return `x on ${on.name}`;
  });
  await expect(day.clock.until(killed)).rejects.toThrow("killed on small");
  expect(runs).toBe(3);
});

test("empties a builder for a job that has lacked memory for too long", async () => {
  const day = new Day([builder("a", { slots: 2, memory: 10 * gibibyte })], {
    rules: { memoryWait: 100 },
  });
  const small = (number: number) => job(`small-${number}`, 15, { memory: 4 * gibibyte, remaining: 1e6 });
  const endless = async (first: number) => {
    for (let number = first; number < first + 40; number += 2) await day.do(small(number));
    return "";
  };
  const rows = [endless(0), day.clock.sleep(7).then(() => endless(1))];
  const big = day.do(job("big", 10, { memory: 9 * gibibyte, remaining: 10 }));
  await day.all(big, ...rows);
  const start = Number(day.log.find((entry) => entry.includes("started big"))?.split(" ")[0]);
  expect(start).toBeGreaterThan(100);
  expect(start).toBeLessThan(140);
});

test("starts a job in bounded time in spite of an endless row of more urgent ones", async () => {
  const day = new Day([builder("a")], { rules: { ageing: 0.1 } });
  const rows = [0, 1].map(async (row) => {
    for (let number = 0; number < 300; number++)
      await day.do(job(`urgent-${row}-${number}`, 10, { remaining: 100 }));
    return "";
  });
  const patient = day.do(job("patient", 10));
  await day.all(patient, ...rows);
  const start = Number(day.log.find((entry) => entry.includes("started patient"))?.split(" ")[0]);
  expect(start).toBeLessThanOrEqual((100 - 10) / 0.1 + 20);
});

test("gives the second of two jobs with one key the result of the first", async () => {
  const day = new Day([builder("a"), builder("b")]);
  expect(await day.all(day.do(job("x", 5)), day.do(job("x", 5)))).toEqual(["x on a", "x on a"]);
  expect(day.clock.now()).toBe(5);
  expect(await day.all(day.do(job("x", 5)))).toEqual(["x on a"]);
});

test("does the second caller's work when the first caller of a key cancels", async () => {
  const day = new Day([builder("a"), builder("b")]);
  const first = new AbortController();
  const cancelled = expect(day.do(job("x", 5), first.signal)).rejects.toThrow("no longer");
  const second = day.do(job("x", 5));
  day.clock.after(3, () => first.abort(new Error("no longer")));
  await day.all(second);
  await cancelled;
  expect(day.clock.now()).toBe(8);
});

test("removes a cancelled job from the queue, and waits for a running one", async () => {
  const day = new Day([builder("a")]);
  const cancel = new AbortController();
  const working = day.doing(job("x", 10), async (on, signal) => {
    await day.clock.sleep(10, signal).catch(() => day.clock.sleep(2));
    throw new Error(`${on.name} let go of it`);
  });
  const waiting = expect(day.do(job("y", 5), cancel.signal)).rejects.toThrow("no longer");
  day.clock.after(1, () => cancel.abort(new Error("no longer")));
  await expect(day.clock.until(working)).rejects.toThrow("a let go of it");
  await waiting;
  expect(day.scheduler.waiting).toBe(0);
  expect(day.log.join()).not.toContain("started y");
  await expect(day.do(job("z", 1), cancel.signal)).rejects.toThrow("no longer");
});

test("returns the result of work that finished in spite of its cancellation", async () => {
  const day = new Day([builder("a")]);
  const cancel = new AbortController();
  const work = async () => {
    await day.clock.sleep(10);
    return "finished";
  };
  const run = day.scheduler.run(job("x", 10), work, cancel.signal);
  day.clock.after(9, () => cancel.abort());
  expect(await day.clock.until(run)).toBe("finished");
});

test("rejects with the job's own error, and loses no builder", async () => {
  const day = new Day([builder("a")]);
  const broken = day.doing(job("x", 1), () => Promise.reject(new Error("exit code: 2")));
  await expect(day.clock.until(broken)).rejects.toThrow("exit code: 2");
  expect(day.scheduler.lost.size).toBe(0);
  expect(await day.all(day.do(job("x", 1)))).toEqual(["x on a"]);
});

test("does the jobs of a lost builder elsewhere, in their order", async () => {
  const day = new Day([builder("a"), builder("b")]);
  const run = day.doing(job("x", 10, { remaining: 50 }), async (on, signal) => {
    await day.clock.sleep(4, signal);
    if (on.name === "a") throw new BuilderLostError("connection reset");
    return `x on ${on.name}`;
  });
  expect(await day.all(run, day.do(job("y", 5)), day.do(job("z", 5)))).toEqual([
    "x on b",
    "y on b",
    "z on b",
  ]);
  expect(day.log).toContain("4 lost a");
  expect(day.log.filter((entry) => /started [xz] b/.test(entry))).toEqual(["5 started x b", "9 started z b"]);
  expect(day.scheduler.lost).toEqual(new Map([["a", "connection reset"]]));
});

test("probes a lost builder at growing intervals, and uses it again when it answers", async () => {
  const day: Day = new Day([builder("a")], {
    probe: async () => {
      day.log.push(`${day.clock.now()} probe`);
      if (day.clock.now() < 20) throw new Error("connection refused");
    },
  });
  let tries = 0;
  const run = day.doing(job("x", 1), async (on) => {
    await day.clock.sleep(1);
    if (tries++ === 0) throw new BuilderLostError("connection reset");
    return on.name;
  });
  expect(await day.all(run)).toEqual(["a"]);
  expect(day.log.filter((entry) => /probe|back/.test(entry))).toEqual([
    "3 probe",
    "7 probe",
    "15 probe",
    "31 probe",
    "31 back a",
  ]);
});

test("does a hanging job elsewhere when a probe finds its builder dead", async () => {
  const day = new Day([builder("a", { slots: 2 }), builder("b")], {
    probe: () => Promise.reject(new Error("no route to host")),
  });
  const hanging = day.doing(job("hangs", 10, { remaining: 99 }), async (on, signal) => {
    await day.clock.sleep(on.name === "a" ? 1e9 : 10, signal);
    return `hangs on ${on.name}`;
  });
  const telling = day.doing(job("tells", 10, { remaining: 98 }), async (on) => {
    await day.clock.sleep(5);
    if (on.name === "a") throw new BuilderLostError("connection reset");
    return `tells on ${on.name}`;
  });
  const other = day.do(job("other", 1, { remaining: 98.5 }));
  const results = await day.all(hanging, telling, other);
  day.scheduler.close();
  expect(results[0]).toBe("hangs on b");
});

test("ends a probe that gets no answer", async () => {
  const day = new Day([builder("a")], { probe: () => new Promise(() => {}), lostBuilderTimeout: 100 });
  day.scheduler.markLost("a", "spot notice");
  await expect(day.clock.until(day.do(job("x", 1)))).rejects.toThrow(
    "x: no builder for linux/amd64 has answered for 100 s: a: no answer within 30 s. Repair one",
  );
});

test("fails waiting jobs after the timeout when all builders are lost, and later jobs at once", async () => {
  const day = new Day([builder("a"), builder("b")], {
    probe: () => Promise.reject(new Error("connection refused")),
    lostBuilderTimeout: 60,
  });
  for (const name of ["a", "b"]) day.scheduler.markLost(name, "gone");
  const failing = day.do(job("x", 1));
  await expect(day.clock.until(failing)).rejects.toThrow(/a: connection refused; b: connection refused/);
  expect(day.clock.now()).toBe(60);
  await expect(day.clock.until(day.do(job("y", 1)))).rejects.toThrow(NoBuilderError);
  expect(day.clock.now()).toBe(60);
});

test("fails at once when all builders are lost and there is no probe", async () => {
  const day = new Day([builder("a")]);
  const run = day.doing(job("x", 1), () => Promise.reject(new BuilderLostError("killed")));
  await expect(day.clock.until(run)).rejects.toThrow("a: killed");
  expect(day.clock.now()).toBe(0);
});

test("gives up a job during which builder after builder is lost", async () => {
  const day = new Day(["a", "b", "c", "d"].map((name) => builder(name)));
  const run = day.doing(job("x", 1), (on) =>
    Promise.reject(new BuilderLostError(`${on.name} out of memory`)),
  );
  await expect(day.clock.until(run)).rejects.toThrow(
    /x: given up, as 3 builders were lost with it: a: a out of memory; b: .*; c: .* memory and disk/,
  );
  expect([...day.scheduler.lost.keys()]).toEqual(["a", "b", "c"]);
});

test("sends a job to the builder that has its inputs", async () => {
  const day = new Day([builder("a"), builder("b")]);
  day.scheduler.noteCached("b", "sha256:gcc");
  const inputs = [{ digest: "sha256:gcc", bytes: 1e9 }];
  expect(await day.all(day.do(job("x", 10, { inputs })))).toEqual(["x on b"]);
  day.scheduler.noteCached("a", "sha256:musl");
  expect(await day.all(day.do(job("y", 10, { inputs: [{ digest: "sha256:musl" }] })))).toEqual(["y on a"]);
});

test("holds a job back for a builder that has its inputs, if sending them takes longer", async () => {
  const day = new Day([builder("a"), builder("b")], { rules: { bytesPerSecond: 1e8 } });
  day.scheduler.noteCached("b", "sha256:gcc");
  day.scheduler.noteCached("b", "sha256:llvm");
  const inputs = [{ digest: "sha256:gcc", bytes: 2e9 }];
  const large = [{ digest: "sha256:llvm", bytes: 1e10 }];
  const busy = job("busy", 50, { inputs: large, remaining: 90 });
  const results = day.all(
    day.do(busy),
    day.do(job("far", 10, { inputs, remaining: 80 })),
    day.do(job("near", 10, { inputs: large, remaining: 70 })),
  );
  expect(await results).toEqual(["busy on b", "far on a", "near on b"]);
  expect(day.log).toContain("0 started far a");
  expect(day.log).toContain("50 started near b");
});

test("holds jobs with shared steps back until one has done them, and sends them to its builder", async () => {
  const shared = { name: "llvm", seconds: 100 };
  const day = new Day([builder("a"), builder("b", { slots: 2 }), builder("c")]);
  const part = (name: string, remaining: number) =>
    day.doing(job(name, 100, { shared, remaining }), async (on) => {
      const isFirst = !day.log.some((entry) => /ended (llvm|clang|lld)/.test(entry));
      await day.clock.sleep(isFirst ? 100 : 1);
      return `${name} on ${on.name}`;
    });
  const results = await day.all(part("llvm", 103), part("clang", 102), part("lld", 101), day.do(job("x", 9)));
  expect(results).toEqual(["llvm on a", "clang on a", "lld on a", "x on b"]);
  expect(day.clock.now()).toBe(102);
});

test("does shared steps in the next job when the first has failed", async () => {
  const shared = { name: "llvm", seconds: 100 };
  const day = new Day([builder("a"), builder("b")]);
  const first = expect(
    day.doing(job("llvm", 100, { shared, remaining: 200 }), () => Promise.reject(new Error("full"))),
  ).rejects.toThrow("full");
  expect(await day.all(day.do(job("clang", 100, { shared })))).toEqual(["clang on a"]);
  await first;
});

test("gives the slot of a job that has freed it to the next, and still waits for the job", async () => {
  const day = new Day([builder("a")]);
  const free = Promise.withResolvers<void>();
  const first = day.scheduler.run(
    job("x", 5),
    async (_on, _signal, leave) => {
      await day.clock.sleep(5);
      leave();
      leave();
      await free.promise;
      return "stored";
    },
    new AbortController().signal,
  );
  expect(await day.clock.until(day.do(job("y", 5)))).toBe("y on a");
  expect(day.scheduler.running).toBe(0);
  free.resolve();
  expect(await day.clock.until(first)).toBe("stored");
  expect(day.log).toEqual(["0 started x a", "5 ended x a", "5 started y a", "10 ended y a"]);
});

test("cancels a job that has freed its slot with its caller or by closing, not by the builder's loss", async () => {
  const day = new Day([builder("a", { slots: 3 })], { probe: () => Promise.reject(new Error("gone")) });
  const storing = (image: string, caller = new AbortController().signal) =>
    day.scheduler.run(
      job(image, 5),
      async (_on, signal, leave) => {
        leave();
        await day.clock.sleep(image === "long" ? 500 : 50, signal);
        return "stored";
      },
      caller,
    );
  const cancelled = new AbortController();
  const [kept, given, closed] = [storing("x"), storing("y", cancelled.signal), storing("long")];
  await day.clock.until(day.clock.sleep(1));
  day.scheduler.markLost("a", "gone");
  cancelled.abort(new Error("enough"));
  await expect(day.clock.until(given)).rejects.toThrow("enough");
  expect(await day.clock.until(kept)).toBe("stored");
  day.scheduler.close(new Error("all ends"));
  await expect(day.clock.until(closed)).rejects.toThrow("all ends");
});

test("does a job elsewhere when it finds wrong bytes after it has freed its slot", async () => {
  const day = new Day([builder("a"), builder("b")]);
  const found = day.scheduler.run(
    job("x", 5),
    async (on, _signal, leave) => {
      leave();
      if (on.name === "a") throw new BuilderLostError("its bytes are wrong");
      return on.name;
    },
    new AbortController().signal,
  );
  expect(await day.clock.until(found)).toBe("b");
  expect([...day.scheduler.lost.keys()]).toEqual(["a"]);
});

test("refuses waiting jobs, cancels running ones and ends the probes on closing", async () => {
  const day = new Day([builder("a"), builder("b")], { probe: () => Promise.reject(new Error("gone")) });
  day.scheduler.markLost("b", "gone");
  const working = expect(day.do(job("x", 1000))).rejects.toThrow("over");
  const waiting = expect(day.do(job("y", 1000))).rejects.toThrow("over");
  day.clock.after(5, () => day.scheduler.close(new Error("over")));
  await day.clock.until(Promise.all([working, waiting]));
  await expect(day.do(job("z", 1))).rejects.toThrow("over");
  await expect(day.clock.until(new Promise(() => {}))).rejects.toThrow("nothing is left to happen");
});

test("rejects two builders of one name, and a builder without slots", () => {
  expect(() => new Scheduler([builder("a"), builder("a")])).toThrow("same name");
  expect(() => new Scheduler([builder("a", { slots: 0 })])).toThrow("builder a has 0 slots");
});
