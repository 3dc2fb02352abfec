import { createHash } from "node:crypto";
import { mkdir, open, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "../../lib/fs/atomic-write.ts";

export type Architecture = "amd64" | "arm64";

/** A program for builders: where it is, relative to the project, and its bytes' sha256 (64 hex digits). */
export type Program = { readonly name: string; readonly path: string; readonly sha256: string };

/** What a builder runs. `runc` edits each container's configuration, and then becomes `runc.real`. */
const needed = ["buildkitd", "runc", "runc.real"];

/** ELF's numbers for machines (e_machine, at byte 18: "System V ABI", 4.3). */
const machines: Readonly<Record<number, Architecture>> = { 62: "amd64", 183: "arm64" };

/** Amazon Linux 2023 has the C library 2.34: what was linked with symbols of a later one doesn't start there. */
const newestGlibc = 34;

/** Where to look for programs, and where they are put for the upload. */
export type ProgramFolders = {
  /** The first that has a program counts. */
  readonly folders: readonly string[];
  /** Gets each program under its hash. Relative to the project: the state keeps the path, and is nobody's machine's. */
  readonly staging: string;
};

/**
 * The programs for builders of an architecture.
 *
 * @throws where one is missing, or runs on another architecture
 */
export async function stagePrograms(
  { folders, staging }: ProgramFolders,
  architecture: Architecture,
): Promise<Program[]> {
  const found = new Map<string, string>();
  for (const folder of [...folders].reverse()) {
    for (const name of await readdir(folder)) found.set(name, join(folder, name));
  }
  const missing = needed.filter((name) => !found.has(name));
  if (missing.length > 0) {
    throw new Error(
      `there is no ${missing.join(" and no ")} for ${architecture} builders${folders.length > 0 ? ` in ${folders.join(", ")}` : ""}; ` +
        `set stagex:aws.programs.${architecture} to a folder with them: docs/aws.md says how to make it`,
    );
  }
  const programs: Program[] = [];
  for (const name of needed) {
    const path = found.get(name);
    if (path !== undefined) programs.push(await staged(name, path, { staging, architecture }));
  }
  return programs;
}

async function staged(
  name: string,
  path: string,
  { staging, architecture }: { readonly staging: string; readonly architecture: Architecture },
): Promise<Program> {
  const actual = await architectureOf(path);
  if (actual !== architecture) {
    throw new Error(
      `${path} is for ${actual ?? "no machine known here"}, and ${architecture} builders are to run it`,
    );
  }
  const bytes = await readFile(path);
  const isolation = isolationLack(name, bytes);
  if (isolation !== undefined) throw new Error(`${path} ${isolation}`);
  const glibc = glibcNeeded(bytes);
  if (glibc > newestGlibc) {
    throw new Error(
      `${path} needs the C library 2.${glibc}, and builders have 2.${newestGlibc}; build it on Debian 12 or Amazon Linux 2023`,
    );
  }
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const place = join(staging, sha256);
  const there = await stat(place).catch(() => undefined);
  if (there?.size !== bytes.length) {
    await mkdir(staging, { recursive: true });
    await replaceFile(place, bytes, { mode: 0o755, flush: false });
  }
  return { name, path: place, sha256 };
}

/**
 * Why builds with this program would see more of the machine than they are to; undefined where they would not. A Go program's build
 * information names its package and its build tags in clear (go.dev/pkg/runtime/debug, BuildInfo.String).
 */
function isolationLack(name: string, bytes: Buffer): string | undefined {
  const mend = "On a machine of that kind: apt-get install libseccomp-dev pkg-config, then npm start";
  if (name === "runc" && !bytes.includes("path\tstagex/tools/runc-hermetic\n"))
    return `is not the set-up's runc, and would show builds what is of the machine. ${mend}`;
  if (name === "runc.real" && !/\nbuild\t-tags=(?:\S+,)?seccomp[,\n]/.test(bytes.toString("latin1")))
    return `has no system-call filter, so builds would run as root without one. ${mend}`;
  return undefined;
}

/** The minor version of the C library 2 that a program needs; 0 where it brings all it needs. */
function glibcNeeded(bytes: Buffer): number {
  if (!bytes.includes("/ld-linux-")) return 0;
  const symbols = bytes.toString("latin1").matchAll(/GLIBC_2\.(\d+)/g);
  return Math.max(0, ...[...symbols].map(([, minor]) => Number(minor)));
}

async function architectureOf(path: string): Promise<Architecture | undefined> {
  const file = await open(path, "r");
  try {
    const header = Buffer.alloc(20);
    await file.read(header, 0, header.length, 0);
    return header.toString("latin1", 0, 4) === "\x7fELF" ? machines[header.readUInt16LE(18)] : undefined;
  } finally {
    await file.close();
  }
}
