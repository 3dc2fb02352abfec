import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { prepareDaemonFolders } from "../../../buildkit/daemon/daemon-folders.ts";

/**
 * Returns everything that still runs or is mounted for a project, each process as `<pid> <command
 * line>`. A process belongs to it by its command line, environment or working folder, or by its
 * daemon's containers. Mount points are those below the folder.
 */
export async function leftoversOf(folder: string): Promise<string[]> {
  const cgroups = await cgroupsOf(folder);
  const mounts = (await readFile("/proc/self/mountinfo", "utf8")).split("\n");
  const mounted = mounts.map((line) => line.split(" ")[4] ?? "").filter((point) => point.startsWith(folder));
  const running = (await processes()).filter(
    ({ pid, inside, words, rest }) =>
      pid !== process.pid &&
      (cgroups.some((cgroup) => inside.includes(`/${cgroup}/`)) ||
        words.includes(folder) ||
        rest.includes(folder)),
  );
  return [...running.map(({ pid, words }) => `${pid} ${words.replaceAll("\0", " ")}`), ...mounted];
}

/** Returns the ids of a project's processes whose command line matches. */
export async function processesOf(folder: string, pattern: RegExp): Promise<number[]> {
  const found = await leftoversOf(folder);
  return found
    .filter((line) => /^\d/.test(line) && pattern.test(line))
    .map((line) => Number.parseInt(line, 10));
}

/**
 * Returns the cgroups of a project's private daemons: that of a run without a fleet, and those of a
 * local fleet.
 */
async function cgroupsOf(folder: string): Promise<string[]> {
  const state = join(folder, ".stagex");
  const roots = (await readdir(state).catch(() => [])).filter((name) => /^buildkit(-\d+)?$/.test(name));
  const found = roots.map(async (root) => (await prepareDaemonFolders(join(state, root))).cgroup);
  return await Promise.all(found);
}

async function processes() {
  const ids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  return await Promise.all(
    ids.map(async (id) => {
      const read = (file: string) => readFile(`/proc/${id}/${file}`, "utf8").catch(() => "");
      const folder = await readlink(`/proc/${id}/cwd`).catch(() => "");
      return {
        pid: Number(id),
        inside: await read("cgroup"),
        words: await read("cmdline"),
        rest: `${await read("environ")}\0${folder}`,
      };
    }),
  );
}
