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

/** A schedule on a clock of its own, and the log of what it did. */
class Day {
  readonly clock = new VirtualClock();
  readonly log: string[] = [];
  readonly schedule: Scheduler;
  readonly #signal = new AbortController().signal;

  constructor(builders: readonly ScheduledBuilder[], options: SchedulerOptions = {}) {
    this.schedule = new Scheduler(builders, {
      ...options,
      clock: this.clock,
      rules: { courtesy: { share: 0, longest: 0 }, ...options.rules },
      onEvent: (event) => {
        this.log.push(`${this.clock.now()} ${line(event)}`);
        options.onEvent?.(event);
      },
    });
  }

  /** Work that takes as long as it was foretold. */
  do(wanted: Job, signal = this.#signal): Promise<string> {
    const work = async (on: ScheduledBuilder, aborted: AbortSignal) => {
      await this.clock.sleep(wanted.seconds ?? 0, aborted);
      return `${wanted.image} on ${on.name}`;
    };
    return this.schedule.run(wanted, work, signal);
  }

  /** Work that does this. */
  doing(wanted: Job, work: (on: ScheduledBuilder, signal: AbortSignal) => Promise<string>): Promise<string> {
    return this.schedule.run(wanted, work, this.#signal);
  }

  all(...runs: Promise<string>[]): Promise<string[]> {
    return this.clock.until(Promise.all(runs));
  }
}

function line(event: SchedulerEvent): string {
  if (event.kind === "started" || event.kind === "ended")
    return `${event.kind} ${event.job.image} ${event.builder}`;
  if (event.kind === "again") return `again ${event.job.image}`;
  return `${event.kind} ${event.builder}`;
}

test("the job with the longest remaining path goes first, whenever it was asked for", async () => {
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

test("a builder takes as many as it has slots, an idle one before a busy one", async () => {
  const day = new Day([builder("a", { slots: 2 }), builder("b", { slots: 2 })]);
  const done = day.all(...["p", "q", "r", "s", "t"].map((name) => day.do(job(name, 10))));
  await done;
  expect(day.log.filter((entry) => entry.includes("started")).map((entry) => entry.slice(-1))).toEqual([
    ..."abab",
    "a",
  ]);
  expect(day.clock.now()).toBe(20);
});

test("each architecture goes to its own machines, and linux/386 to x86 alone", async () => {
  const day = new Day([builder("arm", { platforms: ["linux/arm64", "linux/386"] }), builder("intel")]);
  const results = await day.all(
    day.do(job("x", 1)),
    day.do(job("y", 1, { platforms: ["linux/arm64"] })),
    day.do(job("z", 1, { platforms: ["linux/386"] })),
  );
  expect(results).toEqual(["x on intel", "y on arm", "z on intel"]);
});

test("what runs i386 programs for arm64 goes to x86 alone, and nowhere in a fleet of arm64", async () => {
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

test("what runs nothing goes to any machine", async () => {
  const day = new Day([builder("arm", { platforms: arm64 })]);
  expect(await day.all(day.do(job("files", 1, { platforms: [] })))).toEqual(["files on arm"]);
});

test("emulation is for fleets without a machine of that architecture", async () => {
  const emulating = builder("emulating", { platforms: [...amd64, "linux/arm64"] });
  const wanted = job("x", 10, { platforms: ["linux/arm64"] });
  const alone = new Day([emulating]);
  expect(await alone.all(alone.do(wanted))).toEqual(["x on emulating"]);
  const accompanied = new Day([emulating, builder("arm", { platforms: arm64 })]);
  expect(
    await accompanied.all(accompanied.do(wanted), accompanied.do({ ...wanted, key: "y", image: "y" })),
  ).toEqual(["x on arm", "y on arm"]);
});

test("an image that no builder can build is refused at once, with what there is", async () => {
  const day = new Day([builder("a")]);
  const refused = day.do(job("x", 1, { platforms: ["linux/riscv64"] }));
  await expect(refused).rejects.toThrow(NoBuilderError);
  await expect(refused).rejects.toThrow(
    /x: no builder of the fleet can build it: it needs linux\/riscv64; there is a \(linux\/amd64, linux\/386\)/,
  );
  await expect(day.do(job("x", 1, { allowedBuilders: ["b"] }))).rejects.toThrow(/one of b/);
});

test("jobs share a builder's memory", async () => {
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

test("no memory is counted for steps that are in the builder's cache", async () => {
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

test("a job for which no builder has the memory is done by itself where there is most", async () => {
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

/** Work that takes 10 s, and on these builders wants more memory than there is. */
function starving(day: Day, wanted: Job, names: readonly string[], times = Number.POSITIVE_INFINITY) {
  let killed = 0;
  return day.doing(wanted, async (on, signal) => {
    await day.clock.sleep(10, signal);
    if (names.includes(on.name) && killed++ < times)
      throw new OutOfMemoryError(new Error(`killed on ${on.name}`));
    return `${wanted.image} on ${on.name}`;
  });
}

test("a job that was killed for want of memory is done by itself where there is most, before others", async () => {
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
  const after = day.log.slice(day.log.findIndex((entry) => entry.includes("again")));
  expect(after.filter((entry) => !entry.includes("ended"))).toEqual([
    "10 again x",
    "25 started x large",
    "35 started r large",
  ]);
});

test("nothing joins a job that has its builder to itself", async () => {
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

test("one that was killed by itself, where there is most memory, has failed", async () => {
  const day = new Day([builder("small", { memory: gibibyte }), builder("large", { memory: 8 * gibibyte })]);
  const alone = starving(day, job("x", 10, { allowedBuilders: ["large"] }), ["large"]);
  await expect(day.clock.until(alone)).rejects.toThrow("killed on large");
  const twice = starving(day, job("y", 10, { memory: gibibyte / 2 }), ["small", "large"]);
  await expect(day.clock.until(twice)).rejects.toThrow(/killed on (small|large)/);
  expect(day.log.filter((entry) => entry.includes("started y")).at(-1)).toMatch(/large$/);
  expect(day.log.filter((entry) => entry.includes("started y")).length).toBeLessThanOrEqual(2);
});

test("one that is killed again and again, as the largest builder comes and goes, has failed", async () => {
  const day = new Day([builder("small", { memory: gibibyte }), builder("large", { memory: 8 * gibibyte })], {
    probe: async () => {},
    onEvent: ({ kind }) => {
      if (kind === "again") day.schedule.markLost("large", "it was given notice");
    },
  });
  day.schedule.markLost("large", "it was given notice");
  let runs = 0;
  const killed = day.doing(job("x", 10), async (on, signal) => {
    await day.clock.sleep(1000, signal);
    if (runs++ < 20) throw new OutOfMemoryError(new Error(`killed on ${on.name}`));
    return `x on ${on.name}`;
  });
  await expect(day.clock.until(killed)).rejects.toThrow("killed on small");
  expect(runs).toBe(3);
});

test("a job that lacks memory is not passed for ever: a builder is emptied for it", async () => {
  const day = new Day([builder("a", { slots: 2, memory: 10 * gibibyte })], {
    rules: { memoryPatience: 100 },
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

test("nobody waits for ever behind an endless row of more urgent ones", async () => {
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

test("of two jobs with one key, the second gets the first's result", async () => {
  const day = new Day([builder("a"), builder("b")]);
  expect(await day.all(day.do(job("x", 5)), day.do(job("x", 5)))).toEqual(["x on a", "x on a"]);
  expect(day.clock.now()).toBe(5);
  expect(await day.all(day.do(job("x", 5)))).toEqual(["x on a"]);
});

test("when the first of one key is cancelled, the second's work is done", async () => {
  const day = new Day([builder("a"), builder("b")]);
  const first = new AbortController();
  const cancelled = expect(day.do(job("x", 5), first.signal)).rejects.toThrow("no longer");
  const second = day.do(job("x", 5));
  day.clock.after(3, () => first.abort(new Error("no longer")));
  await day.all(second);
  await cancelled;
  expect(day.clock.now()).toBe(8);
});

test("a cancelled job leaves the queue; one at work is waited for", async () => {
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
  expect(day.schedule.waiting).toBe(0);
  expect(day.log.join()).not.toContain("started y");
  await expect(day.do(job("z", 1), cancel.signal)).rejects.toThrow("no longer");
});

test("what was finished in spite of a cancellation is kept", async () => {
  const day = new Day([builder("a")]);
  const cancel = new AbortController();
  const work = async () => {
    await day.clock.sleep(10);
    return "finished";
  };
  const run = day.schedule.run(job("x", 10), work, cancel.signal);
  day.clock.after(9, () => cancel.abort());
  expect(await day.clock.until(run)).toBe("finished");
});

test("a job's own error is its own, and costs no builder", async () => {
  const day = new Day([builder("a")]);
  const broken = day.doing(job("x", 1), () => Promise.reject(new Error("exit code: 2")));
  await expect(day.clock.until(broken)).rejects.toThrow("exit code: 2");
  expect(day.schedule.lost.size).toBe(0);
  expect(await day.all(day.do(job("x", 1)))).toEqual(["x on a"]);
});

test("the jobs of a lost builder are done elsewhere, in their turn", async () => {
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
  expect(day.schedule.lost).toEqual(new Map([["a", "connection reset"]]));
});

test("a lost builder is probed, ever less often, and taken again when it answers", async () => {
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

test("when a probe finds the builder dead, what hangs on it is done elsewhere", async () => {
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
  day.schedule.close();
  expect(results[0]).toBe("hangs on b");
});

test("a probe that gets no answer is given up", async () => {
  const day = new Day([builder("a")], { probe: () => new Promise(() => {}), lostBuilderTimeout: 100 });
  day.schedule.markLost("a", "spot notice");
  await expect(day.clock.until(day.do(job("x", 1)))).rejects.toThrow(
    "x: no builder for linux/amd64 has been there for 100 s: a: no answer within 30 s. Mend one",
  );
});

test("with all builders lost, jobs fail within the patience, and those that come later at once", async () => {
  const day = new Day([builder("a"), builder("b")], {
    probe: () => Promise.reject(new Error("connection refused")),
    lostBuilderTimeout: 60,
  });
  for (const name of ["a", "b"]) day.schedule.markLost(name, "gone");
  const failing = day.do(job("x", 1));
  await expect(day.clock.until(failing)).rejects.toThrow(/a: connection refused; b: connection refused/);
  expect(day.clock.now()).toBe(60);
  await expect(day.clock.until(day.do(job("y", 1)))).rejects.toThrow(NoBuilderError);
  expect(day.clock.now()).toBe(60);
});

test("without probes, a fleet that is all lost is not waited for", async () => {
  const day = new Day([builder("a")]);
  const run = day.doing(job("x", 1), () => Promise.reject(new BuilderLostError("killed")));
  await expect(day.clock.until(run)).rejects.toThrow("a: killed");
  expect(day.clock.now()).toBe(0);
});

test("emulators take over when the native machines do not come back", async () => {
  const emulating = builder("emulating", { platforms: [...amd64, "linux/arm64"] });
  const day = new Day([emulating, builder("arm", { platforms: arm64 })], {
    probe: () => Promise.reject(new Error("gone")),
    lostBuilderTimeout: 60,
  });
  day.schedule.markLost("arm", "gone");
  expect(await day.all(day.do(job("x", 10, { platforms: ["linux/arm64"] })))).toEqual(["x on emulating"]);
  expect(day.clock.now()).toBe(70);
});

test("a job that takes builder after builder with it is given up", async () => {
  const day = new Day(["a", "b", "c", "d"].map((name) => builder(name)));
  const run = day.doing(job("x", 1), (on) =>
    Promise.reject(new BuilderLostError(`${on.name} out of memory`)),
  );
  await expect(day.clock.until(run)).rejects.toThrow(
    /x: given up, as 3 builders were lost with it: a: a out of memory; b: .*; c: .* memory and disk/,
  );
  expect([...day.schedule.lost.keys()]).toEqual(["a", "b", "c"]);
});

test("a job goes where its inputs are", async () => {
  const day = new Day([builder("a"), builder("b")]);
  day.schedule.noteCached("b", "sha256:gcc");
  const inputs = [{ digest: "sha256:gcc", bytes: 1e9 }];
  expect(await day.all(day.do(job("x", 10, { inputs })))).toEqual(["x on b"]);
  day.schedule.noteCached("a", "sha256:musl");
  expect(await day.all(day.do(job("y", 10, { inputs: [{ digest: "sha256:musl" }] })))).toEqual(["y on a"]);
});

test("a job waits for a builder that has its inputs, if that takes less than sending them", async () => {
  const day = new Day([builder("a"), builder("b")], { rules: { bytesPerSecond: 1e8 } });
  day.schedule.noteCached("b", "sha256:gcc");
  day.schedule.noteCached("b", "sha256:llvm");
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

test("what is cut from one compilation waits for it, and goes where it is", async () => {
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

test("a compilation that failed is tried by the next that needs it", async () => {
  const shared = { name: "llvm", seconds: 100 };
  const day = new Day([builder("a"), builder("b")]);
  const first = expect(
    day.doing(job("llvm", 100, { shared, remaining: 200 }), () => Promise.reject(new Error("full"))),
  ).rejects.toThrow("full");
  expect(await day.all(day.do(job("clang", 100, { shared })))).toEqual(["clang on a"]);
  await first;
});

test("a slot just freed is left for what is built from the image just made", async () => {
  const day = new Day([builder("a")], { rules: { courtesy: { share: 0.01, longest: 1 } } });
  const critical = day.do(job("critical", 10, { remaining: 1000 })).then(async () => {
    await day.clock.sleep(0.3);
    return await day.do(job("dependent", 10, { remaining: 990 }));
  });
  await day.all(critical, day.do(job("leaf", 600)));
  expect(day.log).toContain("10.3 started dependent a");
  const short = new Day([builder("a")], { rules: { courtesy: { share: 0.01, longest: 1 } } });
  await short.all(short.do(job("x", 1)), short.do(job("y", 1)));
  expect(short.clock.now()).toBeCloseTo(2.01);
});

test("where jobs take less than was foretold, no slot is left free for long", async () => {
  const day = new Day([builder("a")], { rules: { courtesy: { share: 0.01, longest: 1 } } });
  const quick = async () => {
    await day.clock.sleep(1);
    return "done";
  };
  const asked = Array.from({ length: 100 }, (_, number) => day.doing(job(`x${number}`, 100), quick));
  await day.all(...asked);
  // Foretold were 100 s of each, and so a second between two.
  expect(day.clock.now()).toBeGreaterThan(100);
  expect(day.clock.now()).toBeLessThan(102);
});

test("a job that needs its builder no more leaves its place to the next, and is still waited for", async () => {
  const day = new Day([builder("a")]);
  const free = Promise.withResolvers<void>();
  const first = day.schedule.run(
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
  expect(day.schedule.running).toBe(0);
  free.resolve();
  expect(await day.clock.until(first)).toBe("stored");
  expect(day.log).toEqual(["0 started x a", "5 ended x a", "5 started y a", "10 ended y a"]);
});

test("what has left its builder is cancelled with its caller and by closing, but not by the builder's end", async () => {
  const day = new Day([builder("a", { slots: 3 })], { probe: () => Promise.reject(new Error("gone")) });
  const storing = (image: string, caller = new AbortController().signal) =>
    day.schedule.run(
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
  day.schedule.markLost("a", "gone");
  cancelled.abort(new Error("enough"));
  await expect(day.clock.until(given)).rejects.toThrow("enough");
  expect(await day.clock.until(kept)).toBe("stored");
  day.schedule.close(new Error("all ends"));
  await expect(day.clock.until(closed)).rejects.toThrow("all ends");
});

test("what is delivered badly after its builder was left is done elsewhere", async () => {
  const day = new Day([builder("a"), builder("b")]);
  const found = day.schedule.run(
    job("x", 5),
    async (on, _signal, leave) => {
      leave();
      if (on.name === "a") throw new BuilderLostError("its bytes are wrong");
      return on.name;
    },
    new AbortController().signal,
  );
  expect(await day.clock.until(found)).toBe("b");
  expect([...day.schedule.lost.keys()]).toEqual(["a"]);
});

test("closing refuses what waits, cancels what works, and ends the probes", async () => {
  const day = new Day([builder("a"), builder("b")], { probe: () => Promise.reject(new Error("gone")) });
  day.schedule.markLost("b", "gone");
  const working = expect(day.do(job("x", 1000))).rejects.toThrow("over");
  const waiting = expect(day.do(job("y", 1000))).rejects.toThrow("over");
  day.clock.after(5, () => day.schedule.close(new Error("over")));
  await day.clock.until(Promise.all([working, waiting]));
  await expect(day.do(job("z", 1))).rejects.toThrow("over");
  await expect(day.clock.until(new Promise(() => {}))).rejects.toThrow("nothing is left to happen");
});

test("a fleet's names are its own, and every builder has a slot", () => {
  expect(() => new Scheduler([builder("a"), builder("a")])).toThrow("same name");
  expect(() => new Scheduler([builder("a", { slots: 0 })])).toThrow("builder a has 0 slots");
});
