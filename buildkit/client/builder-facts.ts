import { readFile } from "node:fs/promises";
import { release } from "node:os";
import { probeCpu } from "./cpu-probe.ts";
import { queryDaemon } from "./daemon-query.ts";
import type { Endpoint } from "./endpoint.ts";

/** A fact that is not known: BuildKit reports nothing of its machine. */
export const unknownFact = "unknown";

/** The facts of a builder, for the ledger. */
export type BuilderFacts = {
  /** As in OCI platforms: amd64, arm64. */
  readonly arch: string;
  /**
   * The CPU's vendor: `GenuineIntel`, `AuthenticAMD`, `ARM`, `Apple`, …, or the kernel's number for
   * it.
   */
  readonly cpuVendor: string;
  /** The kernel's name of the CPU: `AMD EPYC 7763 64-Core Processor`; Arm's kernels have none. */
  readonly cpuModel: string;
  /** The kernel's release, such as `6.1.0-18-amd64`. */
  readonly kernel: string;
  /** BuildKit's version, such as `v0.34.2`. */
  readonly buildkit: string;
  /**
   * The Go that buildkitd was built with, such as `go1.26.8`. Go's gzip compresses the layers; from
   * 1.27 on it gives other bytes, and so other digests.
   */
  readonly go: string;
  /** The source of `cpuVendor`; `cpuinfo` where not given. */
  readonly vendorSource?: VendorSource;
};

/**
 * The source of the CPU's vendor: this machine's kernel, a program that the builder ran, or the
 * configuration.
 */
export type VendorSource = "cpuinfo" | "probe" | "declared" | "unknown";

export type BuilderFactsOptions = {
  /** The Go of the daemon's binary, for a daemon whose binary is at hand. */
  readonly go?: string | undefined;
  /**
   * The folder for temporary folders; without it, no program runs on a remote builder, and its CPU
   * stays unknown.
   */
  readonly scratch?: string;
  readonly signal?: AbortSignal;
};

/** The facts of a daemon and its machine. */
export type BuilderInspection = {
  readonly facts: BuilderFacts;
  readonly platforms: readonly string[];
  readonly vendorSource: Exclude<VendorSource, "declared">;
};

/**
 * Gathers the facts of a daemon, and their source. A daemon on another machine (no `unix://`) runs
 * a small program.
 */
export async function inspectBuilder(
  endpoint: Endpoint,
  options: BuilderFactsOptions = {},
): Promise<BuilderInspection> {
  const { platforms, version } = await queryDaemon(endpoint, options.signal);
  const isHere = endpoint.address.startsWith("unix://");
  const { cpuinfo, kernel } = isHere ? await ownKernel() : await kernelOf(endpoint, platforms[0], options);
  const cpuVendor = cpuVendorOf(cpuinfo);
  return {
    platforms,
    vendorSource: cpuVendor === unknownFact ? "unknown" : isHere ? "cpuinfo" : "probe",
    facts: {
      arch: platforms[0]?.split("/")[1] ?? unknownFact,
      cpuVendor,
      cpuModel: cpuModelOf(cpuinfo),
      kernel,
      buildkit: version,
      go: options.go ?? unknownFact,
    },
  };
}

type Kernel = { readonly cpuinfo: string; readonly kernel: string };

async function ownKernel(): Promise<Kernel> {
  return { cpuinfo: await readFile("/proc/cpuinfo", "utf8").catch(() => ""), kernel: release() };
}

/**
 * Probes a remote builder. One that can't run the program may still build: its facts stay unknown.
 */
async function kernelOf(
  endpoint: Endpoint,
  platform: string | undefined,
  { scratch, signal }: BuilderFactsOptions,
): Promise<Kernel> {
  const none = { cpuinfo: "", kernel: unknownFact };
  if (scratch === undefined || platform === undefined) return none;
  try {
    const { cpuinfo, release: kernel } = await probeCpu(endpoint, platform, scratch, signal);
    return { cpuinfo, kernel: kernel || unknownFact };
  } catch {
    signal?.throwIfAborted();
    return none;
  }
}

/**
 * The kernel's numbers for the designers of Arm CPUs (arch/arm64/include/asm/cputype.h,
 * ARM_CPU_IMP_*).
 */
const armImplementers: Readonly<Record<string, string>> = {
  "0x41": "ARM",
  "0x42": "Broadcom",
  "0x43": "Cavium",
  "0x46": "Fujitsu",
  "0x48": "HiSilicon",
  "0x4e": "NVIDIA",
  "0x51": "Qualcomm",
  "0x61": "Apple",
  "0x6d": "Microsoft",
  "0xc0": "Ampere",
};

/**
 * Returns the CPU's vendor from the text of /proc/cpuinfo (x86: `vendor_id`, Arm: `CPU
 * implementer`).
 */
export function cpuVendorOf(cpuinfo: string): string {
  const vendor = /^vendor_id\s*:\s*(\S+)/m.exec(cpuinfo)?.[1];
  const implementer = /^CPU implementer\s*:\s*(\S+)/m.exec(cpuinfo)?.[1]?.toLowerCase();
  return vendor ?? armImplementers[implementer ?? ""] ?? implementer ?? unknownFact;
}

/** Returns the CPU's model from the text of /proc/cpuinfo, as x86 kernels write it. */
export function cpuModelOf(cpuinfo: string): string {
  return /^model name\s*:(.*)$/m.exec(cpuinfo)?.[1]?.trim() || unknownFact;
}
