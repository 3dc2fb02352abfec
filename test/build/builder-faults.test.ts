import { execFile } from "node:child_process";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { countActiveBuilds } from "../../buildkit/client/daemon-query.ts";
import type { BuilderInputs } from "../../config/builder-inputs.ts";
import type { ProcessIdentity } from "../../lib/fs/pid-identity.ts";
import { pathsOf } from "../../lib/paths.ts";
import { Fleet } from "../../pipeline/fleet/fleet.ts";
import type { Operation } from "../../pipeline/operation.ts";
import { BuildWorkspace, type Built, buildctl, type Recipe } from "../support/builders/build-workspace.ts";
import { describeReal } from "../support/real-tools.ts";
import { FaultyLink } from "../support/servers/faulty-link.ts";
import { TlsDaemon } from "../support/servers/tls-daemon.ts";

const execute = promisify(execFile);

/**
 * Minutes without output after which a build is given up: long enough to play no part in most
 * tests.
 */
const patient = 60;

/** Waits for a minute at most: tests that run at once have no `expect.poll`. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  const began = performance.now();
  while (!(await isSo())) {
    if (performance.now() - began > 60_000) throw new Error("it has not come to pass within a minute");
    await sleep(50);
  }
}

describeReal("a fleet of which one builder fails in mid-build", () => {
  let bench: BuildWorkspace;
  let healthy: string;

  beforeAll(async () => {
    bench = await BuildWorkspace.open();
    healthy = (await bench.daemon("healthy")).use.address;
  });

  /** What is to be closed at the end, the last first. */
  const closing: (() => Promise<unknown>)[] = [];

  afterAll(async () => {
    for (const close of closing.reverse()) await close();
    await bench?.close();
  });

  /** A fleet, what it warned of, and which builder was tried for which job. */
  function fleetOf(builders: readonly BuilderInputs[], stall = patient) {
    const name = `project-${fleets++}`;
    const fleet = new Fleet({
      paths: pathsOf(join(bench.folder, name), { STAGEX_CACHE: join(bench.folder, "cache") }),
      expected: builders.map((builder) => builder.name),
      ...{ stall, watch: { pulse: 1 }, cancelled: new AbortController().signal },
    });
    for (const builder of builders) fleet.register(builder);
    closing.push(() => fleet.close());
    const warnings: string[] = [];
    const tried: [job: string, builder: string][] = [];
    const work: Operation = {
      signal: new AbortController().signal,
      progress: () => {},
      report: (_, message) => warnings.push(message),
    };
    const run = async (key: string, recipe: Recipe, allowedBuilders?: readonly string[]): Promise<Built> => {
      const job = { key, image: key, platforms: ["linux/amd64"], remaining: 0, inputs: [], allowedBuilders };
      const { result } = await fleet.run(
        job,
        ({ name, endpoint }, signal, stir) => {
          tried.push([key, name]);
          return bench.build(endpoint, recipe, signal, stir);
        },
        work,
      );
      return result;
    };
    return { run, warnings, tried };
  }
  let fleets = 0;

  /** An image whose program sleeps, with words of its own on its command line. */
  const lasting = (words: string, seconds = 4): Recipe => ({
    containerfile: `FROM scratch\nADD probe /probe\nRUN ["/probe", "sleep", "${seconds}", "${words}"]\n`,
    files: { probe: bench.probe },
  });

  const isRunning = async (words: string) =>
    (await execute("ps", ["-eo", "args"])).stdout
      .split("\n")
      .some((line) => line.startsWith("/probe sleep") && line.endsWith(words));

  /** Two jobs, of which each builder of two gets one; returns once that of `bad` is at its program. */
  async function twoJobs(fleet: ReturnType<typeof fleetOf>, words: string) {
    const images = ["one", "two"].map((job) => fleet.run(job, lasting(`${words}-${job}`)));
    for (const image of images) image.catch(() => undefined);
    const onBad = () => fleet.tried.find(([, builder]) => builder === "bad")?.[0];
    const isAtIt = async () => onBad() !== undefined && (await isRunning(`${words}-${onBad()}`));
    await until(isAtIt);
    return { images: Promise.all(images), victim: onBad() ?? "" };
  }

  const builders = (address: string): [bad: BuilderInputs, good: BuilderInputs] => [
    { name: "bad", address, slots: 1 },
    { name: "good", address: healthy, slots: 1 },
  ];

  async function linked(name: string): Promise<FaultyLink> {
    const link = await FaultyLink.to((await bench.daemon(name)).use.address);
    closing.push(() => link[Symbol.asyncDispose]());
    return link;
  }

  test("its connection is reset: it is given up at once, and its solve ends", async () => {
    const link = await linked("reset");
    const fleet = fleetOf(builders(link.address));
    const { images, victim } = await twoJobs(fleet, "reset");
    link.set("reset");
    const began = performance.now();
    await images;
    expect(performance.now() - began).toBeLessThan(30_000);
    expect(fleet.warnings).toEqual([
      expect.stringContaining(`${victim}: builder bad is lost, trying elsewhere: `),
    ]);
    expect(fleet.warnings[0]).toContain("it ended the connection");
    expect(fleet.tried.at(-1)).toEqual([victim, "good"]);
  });

  test("its disk is full: what it can't build is built elsewhere", async ({ skip }) => {
    skip(process.getuid?.() !== 0, "a file system of the test's own needs root");
    const root = join(bench.folder, "small");
    await mkdir(root);
    await execute("mount", ["-t", "tmpfs", "-o", "size=48m", "tmpfs", root]);
    const { use } = await bench.daemon("small");
    closing.push(async () => {
      await use.release();
      await execute("umount", ["--lazy", root]);
    });
    for (const [kind, containerfile, files] of [
      ["program", 'FROM scratch\nADD probe /probe\nRUN ["/probe", "fill", "/zeros", "64"]\n', {}],
      ["context", "FROM scratch\nADD probe /probe\nADD zeros /zeros\n", { zeros: Buffer.alloc(64 << 20) }],
    ] as const) {
      const fleet = fleetOf(builders(use.address));
      const recipe = { containerfile, files: { probe: bench.probe, ...files } };
      // The good one is busy when the job comes.
      const busy = fleet.run("busy", lasting(`busy-${kind}`), ["good"]);
      await until(() => isRunning(`busy-${kind}`));
      await Promise.all([busy, fleet.run("large", recipe)]);
      expect(fleet.warnings).toEqual([
        expect.stringMatching(/large: builder bad is lost, trying elsewhere: its disk is full/),
      ]);
      expect(fleet.tried).toContainEqual(["large", "good"]);
    }
  });

  // All that follow wait for most of their time, and so run at once.
  test.concurrent("hung: it is asked in vain, given up, and used again once it goes on", async () => {
    const { root, use } = await bench.daemon("hung");
    const { daemon } = JSON.parse(await readFile(join(root, "daemon.json"), "utf8")) as {
      daemon: ProcessIdentity;
    };
    const fleet = fleetOf(builders(use.address));
    const { images, victim } = await twoJobs(fleet, "hung");
    process.kill(daemon.pid, "SIGSTOP");
    const began = performance.now();
    try {
      await images;
    } finally {
      process.kill(daemon.pid, "SIGCONT");
    }
    expect(performance.now() - began).toBeLessThan(130_000);
    expect(fleet.warnings).toEqual([
      expect.stringMatching(
        new RegExp(
          `${victim}: builder bad is lost, trying elsewhere: .*it does not answer: it hangs, or the network`,
        ),
      ),
    ]);
    expect(fleet.tried.at(-1)).toEqual([victim, "good"]);
    await fleet.run("after", lasting("after-hung", 0), ["bad"]);
  });

  test.concurrent("cut off without a word: it is asked in vain, given up, and used again once it is reached", async () => {
    const link = await linked("cut");
    const fleet = fleetOf(builders(link.address));
    const { images, victim } = await twoJobs(fleet, "cut");
    link.set("silent");
    await images;
    expect(fleet.warnings).toEqual([
      expect.stringMatching(
        new RegExp(
          `${victim}: builder bad is lost, trying elsewhere: .*it does not answer: it hangs, or the network`,
        ),
      ),
    ]);
    expect(fleet.tried.at(-1)).toEqual([victim, "good"]);
    link.set("open");
    await fleet.run("after", lasting("after-cut", 0), ["bad"]);
  });

  test.concurrent("its connection is dead though it can be reached: it is given up, as it has no such build any more", async () => {
    const link = await linked("half-open");
    const fleet = fleetOf(builders(link.address));
    const { images, victim } = await twoJobs(fleet, "half-open");
    link.set("half-open");
    await images;
    expect(fleet.warnings).toEqual([
      expect.stringMatching(
        new RegExp(`${victim}: builder bad is lost, trying elsewhere: it has no build of ours`),
      ),
    ]);
    expect(fleet.tried.at(-1)).toEqual([victim, "good"]);
  });

  test.concurrent("its certificate expires: what it is at work on is finished, the next image is built elsewhere", async () => {
    const seconds = 25;
    await using expiring = await TlsDaemon.start({ days: seconds / (24 * 60 * 60) });
    const expires = performance.now() + seconds * 1000;
    const files = await expiring.client();
    const [ca = "", certificate = "", key = ""] = await Promise.all(
      [files.ca, files.cert, files.key].map((path) => readFile(path, "utf8")),
    );
    const [bad, good] = builders(expiring.address);
    const fleet = fleetOf([{ ...bad, tls: { ca, certificate, key } }, good]);
    await fleet.run("one", lasting("expiring", seconds + 8), ["bad"]);
    expect(performance.now()).toBeGreaterThan(expires);
    expect(fleet.warnings).toEqual([]);
    const busy = fleet.run("busy", lasting("busy-expired"), ["good"]);
    await until(() => isRunning("busy-expired"));
    await Promise.all([busy, fleet.run("two", lasting("expired", 0))]);
    expect(fleet.warnings).toEqual([
      expect.stringMatching(/two: builder bad is lost, trying elsewhere: its certificate has expired/),
    ]);
    expect(fleet.tried.slice(-2)).toEqual([
      ["two", "bad"],
      ["two", "good"],
    ]);
  });

  test.concurrent("quiet: a program that says nothing for long is let go on", async () => {
    const link = await linked("quiet");
    const fleet = fleetOf([{ name: "bad", address: link.address, slots: 1 }]);
    const built = fleet.run("quiet", lasting("quiet", 12));
    await until(() => isRunning("quiet"));
    const endpoint = { address: link.address, buildctl: buildctl() };
    expect(await countActiveBuilds(endpoint, new AbortController().signal)).toBe(1);
    await built;
    expect(await countActiveBuilds(endpoint, new AbortController().signal)).toBe(0);
    expect(fleet.warnings).toEqual([]);
  });

  test.concurrent("slow: it is let go on as long as anything comes, however long that takes", async () => {
    const link = await linked("slow");
    const stall = 10 / 60;
    const fleet = fleetOf([{ name: "bad", address: link.address, slots: 1 }], stall);
    await fleet.run("before", lasting("before-slow", 0));
    // buildctl writes a layer by the MiB.
    link.throttle(200_000);
    const noise = Buffer.from(Array.from({ length: 4_000_000 }, () => Math.floor(Math.random() * 256)));
    const began = performance.now();
    await fleet.run("large", { containerfile: "FROM scratch\nADD noise /noise\n", files: { noise } });
    expect(performance.now() - began).toBeGreaterThan(2 * stall * 60_000);
    expect(fleet.warnings).toEqual([]);
  });
});
