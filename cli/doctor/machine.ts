import { readFile, statfs } from "node:fs/promises";
import { cpus, release } from "node:os";
import { dirname } from "node:path";
import { cpuVendorOf } from "../../buildkit/client/builder-facts.ts";
import { gitVersion } from "../../lib/git/git.ts";
import { pathsOf } from "../../lib/paths.ts";
import { privateDaemonObstacle } from "../../tools/daemon-choice.ts";
import { readKernelFeatures } from "../../tools/kernel-features.ts";
import { runnablePlatforms } from "../../tools/platforms.ts";
import { compareVersions, formatVersion, parseVersion, type Version } from "../../tools/version.ts";
import { type Check, ok, type Section } from "./check.ts";

/** The oldest version of git with all options that this project uses. */
const oldestGit: Version = [2, 30, 0];
/** GiB for the set-up and the example tree; all of StageX takes hundreds of times that. */
const leastSpace = 6;

/** Checks the kernel, the CPU, the platforms, the disks and git. */
export async function checkMachine(environment: NodeJS.ProcessEnv): Promise<Section> {
  const checks = [
    ...(process.platform === "linux" ? await kernelChecks() : []),
    await cpuCheck(),
    await checkPlatforms(),
    await gitCheck(environment),
    await spaceCheck("disk for the cache", pathsOf(undefined, environment).cache),
    await spaceCheck("disk for this checkout", pathsOf(undefined, environment).project),
  ];
  return { title: "Machine", checks };
}

async function kernelChecks(): Promise<Check[]> {
  const { overlayfs, namespaces, cgroups, seccomp } = await readKernelFeatures();
  const missing = Object.entries(namespaces)
    .filter(([, has]) => !has)
    .map(([name]) => name);
  const needed = missing.filter((name) => name !== "user");
  const user = privateDaemonObstacle() === null ? "root" : "not root";
  return [
    ok("kernel", `Linux ${release()}, ${user}`),
    overlayfs
      ? ok("overlayfs", "yes", "yes")
      : {
          name: "overlayfs",
          found: "no: each layer is copied",
          minimum: "yes",
          verdict: "lacks",
          mend: "modprobe overlay",
        },
    needed.length > 0
      ? {
          name: "namespaces",
          found: `without ${needed.join(", ")}`,
          minimum: "mnt, net, pid, uts, ipc",
          verdict: "falls short",
          mend: "a kernel with CONFIG_NAMESPACES; inside a container: start it with --privileged",
        }
      : ok("namespaces", missing.length > 0 ? "all but user" : "all", "mnt, net, pid, uts, ipc"),
    cgroups === "none"
      ? {
          name: "cgroups",
          found: "none",
          minimum: "v1 or v2",
          verdict: "falls short",
          mend: "mount -t cgroup2 none /sys/fs/cgroup",
        }
      : ok("cgroups", cgroups, "v1 or v2"),
    seccomp
      ? ok("seccomp", "yes", "yes")
      : {
          name: "seccomp",
          found: "no: system calls of builds are not filtered",
          minimum: "yes",
          verdict: "lacks",
          mend: "a kernel with CONFIG_SECCOMP_FILTER",
        },
  ];
}

async function cpuCheck(): Promise<Check> {
  const vendor = cpuVendorOf(await readFile("/proc/cpuinfo", "utf8").catch(() => ""));
  return ok("CPU", `${vendor}, ${cpus()[0]?.model ?? "model unknown"}, ${cpus().length} cores`);
}

/** @param architecture as Node.js calls it */
export async function checkPlatforms(architecture: string = process.arch): Promise<Check> {
  const { native, emulated } = await runnablePlatforms(architecture);
  const others = emulated.length > 0 ? `; emulated: ${emulated.join(" ")}` : "";
  const found = `${native.join(" ")}${others}`;
  if (native.includes("linux/386")) return ok("platforms", found, "the host's own");
  return {
    name: "platforms",
    found: `${found}; no linux/386, whose programs StageX's bootstrap runs whatever it builds for`,
    minimum: null,
    verdict: "lacks",
    mend: `add an x86 builder (stagex:builders), or pull such images (stagex:substitute): stagex show --all --on ${native[0] ?? "linux/arm64"} lists them`,
  };
}

async function gitCheck(environment: NodeJS.ProcessEnv): Promise<Check> {
  const minimum = formatVersion(oldestGit);
  const printed = await gitVersion(environment);
  const version = printed === null ? null : parseVersion(printed);
  if (version !== null && compareVersions(version, oldestGit) >= 0)
    return ok("git", formatVersion(version), minimum);
  const found = version === null ? "none" : formatVersion(version);
  return { name: "git", found, minimum, verdict: "falls short", mend: "apt-get install git" };
}

async function spaceCheck(name: string, folder: string): Promise<Check> {
  const gibibytes = await freeSpace(folder);
  const [found, minimum] = [`${gibibytes.toFixed(1)} GiB free`, `${leastSpace} GiB`];
  if (gibibytes >= leastSpace) return ok(name, found, minimum);
  return {
    name,
    found,
    minimum,
    verdict: "falls short",
    mend: `free some on the disk of ${folder}, or set STAGEX_CACHE to another`,
  };
}

/**
 * Returns the GiB free for this user on the disk of a folder, or of its nearest parent that exists.
 */
async function freeSpace(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return (bavail * bsize) / 2 ** 30;
  } catch (error) {
    if (folder === dirname(folder)) throw error;
    return freeSpace(dirname(folder));
  }
}
