import { access, readFile } from "node:fs/promises";

/** This kernel's features for containers. */
export type KernelFeatures = {
  /** Layers without copying: BuildKit copies each without it. */
  readonly overlayfs: boolean;
  readonly namespaces: Readonly<Record<"user" | "mnt" | "net" | "pid" | "uts" | "ipc", boolean>>;
  readonly cgroups: "v2" | "v1" | "none";
  /** The filter of system calls. */
  readonly seccomp: boolean;
};

/** Reads the features from /proc and /sys below `root` (not `/` in tests only). */
export async function readKernelFeatures(root = "/"): Promise<KernelFeatures> {
  const has = async (path: string): Promise<boolean> => {
    try {
      await access(`${root}${path}`);
      return true;
    } catch {
      return false;
    }
  };
  const read = (path: string): Promise<string> => readFile(`${root}${path}`, "utf8").catch(() => "");
  const namespace = (name: string): Promise<boolean> => has(`proc/self/ns/${name}`);
  return {
    overlayfs: /\boverlay$/m.test(await read("proc/filesystems")),
    namespaces: {
      user: (await namespace("user")) && Number(await read("proc/sys/user/max_user_namespaces")) > 0,
      mnt: await namespace("mnt"),
      net: await namespace("net"),
      pid: await namespace("pid"),
      uts: await namespace("uts"),
      ipc: await namespace("ipc"),
    },
    cgroups: (await has("sys/fs/cgroup/cgroup.controllers"))
      ? "v2"
      : (await has("sys/fs/cgroup/memory"))
        ? "v1"
        : "none",
    seccomp: /\berrno\b/.test(await read("proc/sys/kernel/seccomp/actions_avail")),
  };
}
