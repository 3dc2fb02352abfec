import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readKernelFeatures } from "../../../tools/kernel-features.ts";
import { runnablePlatforms } from "../../../tools/platforms.ts";

const root = mkdtempSync(join(tmpdir(), "machine-"));
afterAll(() => rmSync(root, { recursive: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

test("finds no feature in an empty /proc and /sys", async () => {
  expect(await readKernelFeatures(`${root}/nothing/`)).toEqual({
    overlayfs: false,
    namespaces: { user: false, mnt: false, net: false, pid: false, uts: false, ipc: false },
    cgroups: "none",
    seccomp: false,
  });
});

test("reads the features of a kernel", async () => {
  put("k/proc/filesystems", "nodev\ttmpfs\nnodev\toverlay\n\text4\n");
  for (const name of ["user", "mnt", "pid", "uts", "ipc"]) put(`k/proc/self/ns/${name}`, "");
  put("k/proc/sys/user/max_user_namespaces", "0\n");
  put("k/sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
  put("k/proc/sys/kernel/seccomp/actions_avail", "kill_process errno allow\n");
  expect(await readKernelFeatures(`${root}/k/`)).toEqual({
    overlayfs: true,
    namespaces: { user: false, mnt: true, net: false, pid: true, uts: true, ipc: true },
    cgroups: "v2",
    seccomp: true,
  });
});

test("lists the machine's own platforms, and those with an enabled interpreter", async () => {
  put("binfmt/qemu-aarch64", "enabled\ninterpreter /usr/bin/qemu-aarch64\n");
  put("binfmt/qemu-riscv64", "disabled\ninterpreter /usr/bin/qemu-riscv64\n");
  put("binfmt/qemu-i386", "enabled\n");
  put("binfmt/python3.11", "enabled\n");
  expect(await runnablePlatforms("x64", join(root, "binfmt"))).toEqual({
    native: ["linux/amd64", "linux/386"],
    emulated: ["linux/arm64"],
  });
  expect(await runnablePlatforms("arm64", join(root, "none"))).toEqual({
    native: ["linux/arm64"],
    emulated: [],
  });
});
