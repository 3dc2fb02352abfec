import type { PairResult } from "./pairs.ts";

/** The tools and folders of one run of benchmarks. */
export type BenchmarkRun = {
  /** A folder for all benchmarks, removed afterwards. */
  readonly scratch: string;
  readonly engine: { readonly pulumi: string; readonly environment: NodeJS.ProcessEnv };
  readonly tools: { readonly buildctl: string; readonly buildkitd: string; readonly runc: string };
  /** A StageX checkout, if one was given. */
  readonly checkout: string | undefined;
  readonly pairs: number;
};

/** Ratios, and lines with other figures. */
export type BenchmarkResult = { readonly results: PairResult[]; readonly notes: string[] };

/** Measures one part. */
export type Benchmark = (run: BenchmarkRun) => Promise<BenchmarkResult>;
