import { readFile } from "node:fs/promises";
import { release } from "node:os";
import { type Endpoint, workers } from "./endpoint.ts";

/** Stands for a fact that can't be known: BuildKit tells nothing of the machine that it runs on. */
export const unknown = "unknown";

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
};

export type BuilderFactsOptions = {
  /** The Go of the daemon's binary, from who knows where that is. */
  readonly go?: string | undefined;
  readonly signal?: AbortSignal;
};

/** Gathers the facts of the daemon. Of one that is not on this machine (no `unix://`), no more than it says itself. */
export async function builderFacts(
  endpoint: Endpoint,
  options: BuilderFactsOptions = {},
): Promise<BuilderFacts> {
  const { platforms, version } = await workers(endpoint, options.signal);
  const isHere = endpoint.address.startsWith("unix://");
  const cpuinfo = isHere ? await readFile("/proc/cpuinfo", "utf8").catch(() => "") : "";
  return {
    arch: platforms[0]?.split("/")[1] ?? unknown,
    cpuVendor: cpuVendorOf(cpuinfo),
    cpuModel: cpuModelOf(cpuinfo),
    kernel: isHere ? release() : unknown,
    buildkit: version,
    go: options.go ?? unknown,
  };
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
  return vendor ?? armImplementers[implementer ?? ""] ?? implementer ?? unknown;
}

/** The CPU's model from the text of /proc/cpuinfo, as x86 kernels write it. */
export function cpuModelOf(cpuinfo: string): string {
  return /^model name\s*:[ \t]*(\S.*?)\s*$/m.exec(cpuinfo)?.[1] ?? unknown;
}
