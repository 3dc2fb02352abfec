import { dependentsOf, sortTopologically, withDependents } from "../graph.ts";
import { remainingSeconds } from "./build-durations.ts";

/** The forecast of one image, as far as it is known before the run. */
export type ForecastStatus =
  /** An own input changed, and the ledger has no result for it. */
  | "will"
  /** Only a dependency may change; if its digest stays equal, the image is not built. */
  | "may"
  /** The ledger has the digests of its inputs. */
  | "ledger"
  | "unchanged";

/** One image of a run. */
export type ForecastImage = {
  readonly status: ForecastStatus;
  /** Names of the images it is built from. */
  readonly dependencies: readonly string[];
  /** The recorded seconds of an earlier build; null where there is no record. */
  readonly seconds: number | null;
};

/** The forecast of a run. */
export type Forecast = {
  readonly counts: Readonly<Record<ForecastStatus, number>>;
  /** Predicted seconds if all is built that may be; null where most have no recorded duration. */
  readonly seconds: number | null;
  /** The number of images to build without a record. Each takes the median of the others. */
  readonly guessed: number;
  /** The chain of builds that more builders do not shorten, first to last, and its seconds. */
  readonly criticalPath: { readonly images: readonly string[]; readonly seconds: number };
  /** Images that will be built, and how many they may cause. At most ten, the largest first. */
  readonly causes: readonly { readonly image: string; readonly dependents: number }[];
};

/** Forecasts a run over a number of build slots: the images built, the time and the causes. */
export function forecastRun(images: ReadonlyMap<string, ForecastImage>, slots: number): Forecast {
  const isBuilt = (name: string) => ["will", "may"].includes(images.get(name)?.status ?? "");
  const built = [...images.keys()].filter(isBuilt);
  const known = built.flatMap((name) => images.get(name)?.seconds ?? []);
  const guess = middle(known);
  const jobs = new Map<string, Job>();
  for (const name of built) {
    const { dependencies = [], seconds = null } = images.get(name) ?? {};
    jobs.set(name, { dependencies: dependencies.filter(isBuilt), seconds: seconds ?? guess ?? 0 });
  }
  const work: Work = { jobs, order: [...sortTopologically(jobs).keys()], dependents: dependentsOf(jobs) };
  const remaining = remainingSeconds(jobs, (name) => jobs.get(name)?.seconds ?? 0);
  return {
    counts: countStatuses(images),
    seconds: known.length * 2 < built.length ? null : makespan(work, remaining, slots),
    guessed: built.length - known.length,
    criticalPath: criticalPath(work, remaining),
    causes: causesOf(images, work),
  };
}

type Job = { readonly dependencies: readonly string[]; readonly seconds: number };

/** The graph of the images to build, in an order that can be built, and the dependents of each. */
type Work = {
  readonly jobs: ReadonlyMap<string, Job>;
  readonly order: readonly string[];
  readonly dependents: ReadonlyMap<string, readonly string[]>;
};

function countStatuses(images: ReadonlyMap<string, ForecastImage>): Record<ForecastStatus, number> {
  const counts = { will: 0, may: 0, ledger: 0, unchanged: 0 };
  for (const { status } of images.values()) counts[status] += 1;
  return counts;
}

/** Simulates the builds, longest remaining chain first, and returns when the last one ends. */
function makespan(
  { jobs, order, dependents }: Work,
  remaining: ReadonlyMap<string, number>,
  slots: number,
): number {
  const waitsFor = new Map(order.map((name) => [name, jobs.get(name)?.dependencies.length ?? 0]));
  const urgency = (name: string) => remaining.get(name) ?? 0;
  const ready = order.filter((name) => waitsFor.get(name) === 0);
  const running: { name: string; ends: number }[] = [];
  let now = 0;
  while (ready.length > 0 || running.length > 0) {
    ready.sort((a, b) => urgency(b) - urgency(a));
    for (const name of ready.splice(0, Math.max(0, slots - running.length))) {
      running.push({ name, ends: now + (jobs.get(name)?.seconds ?? 0) });
    }
    running.sort((a, b) => a.ends - b.ends);
    const ended = running.shift();
    if (!ended) break;
    now = ended.ends;
    for (const dependent of dependents.get(ended.name) ?? []) {
      const left = (waitsFor.get(dependent) ?? 0) - 1;
      waitsFor.set(dependent, left);
      if (left === 0) ready.push(dependent);
    }
  }
  return now;
}

function criticalPath(
  { jobs, dependents }: Work,
  remaining: ReadonlyMap<string, number>,
): Forecast["criticalPath"] {
  const longest = (names: readonly string[]): string | undefined =>
    [...names].sort((a, b) => (remaining.get(b) ?? 0) - (remaining.get(a) ?? 0))[0];
  const images: string[] = [];
  for (let next = longest([...jobs.keys()]); next !== undefined; next = longest(dependents.get(next) ?? []))
    images.push(next);
  return { images, seconds: remaining.get(images[0] ?? "") ?? 0 };
}

/** Counts the images that each image that will be built may cause, directly or indirectly. */
function causesOf(
  images: ReadonlyMap<string, ForecastImage>,
  { order, dependents }: Work,
): Forecast["causes"] {
  return order
    .filter((name) => images.get(name)?.status === "will")
    .map((image) => {
      const reached = withDependents(dependents, dependents.get(image) ?? []);
      return { image, dependents: reached.size };
    })
    .sort((a, b) => b.dependents - a.dependents || (a.image < b.image ? -1 : 1))
    .slice(0, 10);
}

function middle(values: readonly number[]): number | null {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? null;
}
