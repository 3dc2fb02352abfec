import { createHash } from "node:crypto";
import { mkdir, open, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Architecture } from "../../config/aws-fleet.ts";
import { replaceFile } from "../../lib/fs/atomic-write.ts";

/**
 * A program for builders: its path, relative to the project, and the sha256 of its bytes (64 hex
 * digits).
 */
export type Program = { readonly name: string; readonly path: string; readonly sha256: string };

/**
 * The programs of a builder. `runc` edits each container's configuration, and then becomes
 * `runc.real`.
 */
const needed = ["buildkitd", "runc", "runc.real"];

/** ELF's numbers for machines (e_machine, at byte 18: "System V ABI", 4.3). */
const machines: Readonly<Record<number, Architecture>> = { 62: "amd64", 183: "arm64" };

/**
 * The C library of Amazon Linux 2023 is 2.34. Programs linked with symbols of a later one do not
 * start there.
 */
const newestGlibc = 34;

/** The folders that programs are taken from, and the one that they are copied to for the upload. */
export type ProgramFolders = {
  /** The first folder with a program counts. */
  readonly folders: readonly string[];
  /**
   * Receives each program under its hash. It is relative to the project: the state keeps the path,
   * on any machine.
   */
  readonly staging: string;
};

/**
 * Copies the programs for builders of an architecture to the staging folder.
 *
 * @throws Error if one is missing, or cannot run on such a builder
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
        `set stagex:aws.programs.${architecture} to a folder with them; docs/aws.md describes how to make it`,
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
      `${path} is for ${actual ?? "an unknown machine"}, and ${architecture} builders have to run it`,
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
 * Returns the reason why builds with this program would see more of the machine than they should;
 * undefined if they would not. A Go program's build information has its package and its build tags
 * as text (go.dev/pkg/runtime/debug, BuildInfo.String).
 */
function isolationLack(name: string, bytes: Buffer): string | undefined {
  const hint = "On a machine of that kind: apt-get install libseccomp-dev pkg-config, then npm start";
  if (name === "runc" && !bytes.includes("path\tstagex/tools/runc-hermetic\n"))
    return `is not the set-up's runc, and would expose the machine to builds. ${hint}`;
  if (name === "runc.real" && !/\nbuild\t-tags=(?:\S+,)?seccomp[,\n]/.test(bytes.toString("latin1")))
    return `has no system-call filter, so builds would run as root without one. ${hint}`;
  return undefined;
}

/** Returns the minor version of the C library 2 that a program needs; 0 if it needs none. */
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
