import { readFile } from "node:fs/promises";
import { release } from "node:os";
import { probeCpu } from "./cpu-probe.ts";
import { type Endpoint, queryDaemon } from "./endpoint.ts";

/** Stands for a fact that can't be known: BuildKit tells nothing of the machine that it runs on. */
export const unknownFact = "unknown";

/** What is known of a builder, for the ledger. */
export type BuilderFacts = {
  /** As in OCI platforms: amd64, arm64. */
  readonly arch: string;
  /** Who made the CPU: `GenuineIntel`, `AuthenticAMD`, `ARM`, `Apple`, …, or the kernel's own number for it. */
  readonly cpuVendor: string;
  /** The CPU's name as the kernel has it: `AMD EPYC 7763 64-Core Processor`; Arm's kernels name none. */
  readonly cpuModel: string;
  /** The kernel's release, such as `6.1.0-18-amd64`. */
  readonly kernel: string;
  /** BuildKit's version, such as `v0.34.2`. */
  readonly buildkit: string;
  /**
   * The Go that buildkitd was built with, such as `go1.26.8`. Layers are compressed by Go's own gzip, and from 1.27 on it gives
   * other bytes, hence other digests.
   */
  readonly go: string;
  /** How `cpuVendor` was learned; `cpuinfo` where not given. */
  readonly vendorSource?: VendorSource;
};

/** How the CPU's vendor was learned: from this machine's kernel, by a program that the builder ran, from who configured it, or not. */
export type VendorSource = "cpuinfo" | "probe" | "declared" | "unknown";

export type BuilderFactsOptions = {
  /** The Go of the daemon's binary, from who knows where that is. */
  readonly go?: string | undefined;
  /** The folder for temporary folders; without it, a builder elsewhere is asked to run nothing, and its CPU stays unknown. */
  readonly scratch?: string;
  readonly signal?: AbortSignal;
};

/** What a daemon says of itself, and what was found out about its machine. */
export type BuilderInspection = {
  readonly facts: BuilderFacts;
  readonly platforms: readonly string[];
  readonly vendorSource: Exclude<VendorSource, "declared">;
};

/** Gathers the facts of the daemon. Of one that is not on this machine (no `unix://`), no more than it says itself. */
export async function builderFacts(
  endpoint: Endpoint,
  options: BuilderFactsOptions = {},
): Promise<BuilderFacts> {
  return (await inspectBuilder(endpoint, options)).facts;
}

/** Gathers the facts of the daemon, and how they were learned. One that is not on this machine runs a small program for it. */
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

/** A builder that can't run the program may still build: what it does not say stays unknown. */
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

/** The kernel's numbers for who designed an Arm CPU (arch/arm64/include/asm/cputype.h, ARM_CPU_IMP_*). */
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

/** The CPU's vendor from the text of /proc/cpuinfo (x86: `vendor_id`, Arm: `CPU implementer`). */
export function cpuVendorOf(cpuinfo: string): string {
  const vendor = /^vendor_id\s*:\s*(\S+)/m.exec(cpuinfo)?.[1];
  const implementer = /^CPU implementer\s*:\s*(\S+)/m.exec(cpuinfo)?.[1]?.toLowerCase();
  return vendor ?? armImplementers[implementer ?? ""] ?? implementer ?? unknownFact;
}

/** The CPU's model from the text of /proc/cpuinfo, as x86 kernels write it. */
export function cpuModelOf(cpuinfo: string): string {
  return /^model name\s*:(.*)$/m.exec(cpuinfo)?.[1]?.trim() || unknownFact;
}
