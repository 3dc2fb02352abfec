import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** OCI's platforms of Node's CPUs. */
const native: Readonly<Record<string, readonly string[]>> = {
  // A 64-bit x86 kernel also runs 32-bit programs, of which StageX's bootstrap consists.
  x64: ["linux/amd64", "linux/386"],
  arm64: ["linux/arm64"],
  riscv64: ["linux/riscv64"],
};

/** OCI's platforms of QEMU's CPUs, after which binfmt_misc names its interpreters. */
const emulated: Readonly<Record<string, string>> = {
  "qemu-x86_64": "linux/amd64",
  "qemu-i386": "linux/386",
  "qemu-aarch64": "linux/arm64",
  "qemu-arm": "linux/arm/v7",
  "qemu-riscv64": "linux/riscv64",
};

/**
 * Lists the platforms whose programs this machine runs: its own, and the emulated ones
 * (binfmt_misc, enabled entries).
 */
export async function runnablePlatforms(
  architecture: string = process.arch,
  binfmt = "/proc/sys/fs/binfmt_misc",
): Promise<{ readonly native: readonly string[]; readonly emulated: readonly string[] }> {
  const own = native[architecture] ?? [];
  const entries = await readdir(binfmt).catch(() => []);
  const found = await Promise.all(
    entries.map(async (entry) => {
      const platform = emulated[entry];
      const text = platform ? await readFile(join(binfmt, entry), "utf8").catch(() => "") : "";
      return platform && text.startsWith("enabled") && !own.includes(platform) ? [platform] : [];
    }),
  );
  return { native: own, emulated: found.flat().sort() };
}
