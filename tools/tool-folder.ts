import { createHash } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { lock } from "proper-lockfile";
import { isExecutable } from "./executable.ts";
import { goArguments, goModules } from "./go-build.ts";
import { type BuildMethod, type PinnedTool, pinnedGo } from "./pinned-tools.ts";

/** A lock that its owner has not renewed for so long is stale; in milliseconds. */
const staleAfter = 10_000;
const renewEvery = 2_000;
const lookAgainAfter = 500;

/** Reads the version that the tool's go.mod pins, such as `v0.34.2`. */
export async function pinnedVersion({ name, pinnedBy }: PinnedTool): Promise<string> {
  const file = join(goModules, pinnedBy.module, "go.mod");
  const lines = (await readFile(file, "utf8")).split("\n").map((line) => line.trim().split(/\s+/));
  const version = lines.find(([path, found]) => path === pinnedBy.path && found?.startsWith("v"))?.[1];
  if (version === undefined) throw new Error(`${file} pins no version of ${pinnedBy.path} (for ${name})`);
  return version;
}

/**
 * Returns the folder of a tool by its build method: `<tools>/<tool>-<version>-<hash>`. The hash
 * covers all inputs of the binary: go.mod and go.sum, our own source, the arguments, the Go, the
 * operating system and the CPU.
 */
export async function toolFolder(tools: string, tool: PinnedTool, method: BuildMethod): Promise<string> {
  const version = await pinnedVersion(tool);
  const hash = createHash("sha256").update(JSON.stringify([pinnedGo, process.platform, process.arch]));
  for (const binary of method.binaries) {
    hash.update(
      JSON.stringify([
        goArguments(binary, "", version),
        binary.cgo,
        ...(binary.platform ? [binary.platform] : []),
      ]),
    );
    const module = join(goModules, binary.module);
    for (const file of (await readdir(module)).sort()) {
      if (!/^go\.(mod|sum)$|\.go$/.test(file)) continue;
      hash.update(JSON.stringify([file, await readFile(join(module, file), "utf8")]));
    }
  }
  return join(tools, `${tool.name}-${version}-${hash.digest("hex").slice(0, 12)}`);
}

/**
 * Returns the tool's binary in its folder, or null. A folder has its final name only when it is
 * complete.
 */
export async function toolIn(folder: string, tool: PinnedTool): Promise<string | null> {
  const path = join(folder, tool.name);
  return (await isExecutable(path)) ? path : null;
}

/** Options of the filling of a folder. */
export type FillOptions = {
  /** Called once where another process fills it, and this one waits. */
  readonly onWait?: () => void;
  /** Ends the waiting. The loss of the lock ends the filling through the signal of `fill`. */
  readonly signal?: AbortSignal;
};

/**
 * Makes the folder, once, however many processes try. `fill` writes into a temporary folder beside
 * it, which is renamed when its content has reached the disk. A killed run leaves a temporary
 * folder, which the next run removes.
 */
export async function fillFolder(
  folder: string,
  isFilled: () => Promise<boolean>,
  fill: (temporary: string, signal: AbortSignal) => Promise<void>,
  options: FillOptions = {},
): Promise<void> {
  await mkdir(join(folder, ".."), { recursive: true });
  const lost = new AbortController();
  const release = await takeLock(folder, lost, options);
  try {
    if (await isFilled()) return;
    await removeLeftovers(folder);
    const temporary = `${folder}.building-${process.pid}`;
    await mkdir(temporary);
    try {
      await fill(temporary, AbortSignal.any([lost.signal, ...(options.signal ? [options.signal] : [])]));
      lost.signal.throwIfAborted();
      await flush(temporary);
      // A folder with the final name is incomplete here: a binary was removed from it.
      await rm(folder, { recursive: true, force: true });
      await rename(temporary, folder);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  } finally {
    await release();
  }
}

async function takeLock(
  folder: string,
  lost: AbortController,
  { onWait, signal }: FillOptions,
): Promise<() => Promise<void>> {
  for (let waits = 0; ; waits += 1) {
    signal?.throwIfAborted();
    try {
      const release = await lock(folder, {
        realpath: false,
        stale: staleAfter,
        update: renewEvery,
        onCompromised: (error) => lost.abort(error),
      });
      // A lost lock can't be released, and need not be.
      return () => (lost.signal.aborted ? Promise.resolve() : release());
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ELOCKED")) throw error;
      if (waits === 0) onWait?.();
      await new Promise((resolve) => setTimeout(resolve, lookAgainAfter));
    }
  }
}

/** Removes the temporary folders of killed runs: with the lock held, no living process has one. */
async function removeLeftovers(folder: string): Promise<void> {
  const parent = join(folder, "..");
  for (const entry of await readdir(parent)) {
    const path = join(parent, entry);
    if (path.startsWith(`${folder}.building-`)) await rm(path, { recursive: true, force: true });
  }
}

async function flush(folder: string): Promise<void> {
  for (const entry of await readdir(folder)) {
    const file = await open(join(folder, entry), "r");
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }
}
