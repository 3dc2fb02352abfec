import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { projectRoot } from "../lib/paths.ts";
import { findExecutable } from "./executable.ts";
import { diagnoseGoFailure } from "./go-diagnosis.ts";
import { fetchGo, findGo } from "./go-toolchain.ts";
import { type GoBinary, pinnedGo } from "./pinned-tools.ts";
import { SetUpError } from "./set-up-error.ts";

/** The folder with one go.mod for each tool. */
export const goModules: string = join(projectRoot, "tools/go");

/** Options of builds. */
export type GoBuildOptions = {
  /** The tool, for errors: `buildkitd v0.34.2`. */
  readonly what: string;
  /** Replaces VERSION in the linker flags. */
  readonly version: string;
  /** Called with the present step. */
  readonly onDetail?: (detail: string) => void;
  /** Ends the build. */
  readonly signal?: AbortSignal;
  readonly environment?: NodeJS.ProcessEnv;
};

/** The lines of Go's output that are kept for an error. */
const keptLines = 200;

/** Returns the arguments of `go` that build the binary into the folder. */
export function goArguments(binary: GoBinary, folder: string, version: string): string[] {
  // -trimpath: no path of this machine in the binary; -buildvcs=false: nor the commit of this
  // checkout.
  const args = ["build", "-trimpath", "-mod=readonly", "-buildvcs=false", "-o", join(folder, binary.output)];
  if (binary.tags.length > 0) args.push("-tags", binary.tags.join(","));
  if (binary.ldflags !== "") args.push("-ldflags", binary.ldflags.replaceAll("VERSION", version));
  return [...args, binary.package];
}

/**
 * Builds the binaries into the folder, which must exist. Every machine and user gets the same bytes
 * (with the same C library, for those that need C).
 *
 * @throws SetUpError that names the missing part and the fix
 */
export async function buildGoBinaries(
  binaries: readonly GoBinary[],
  folder: string,
  options: GoBuildOptions,
): Promise<void> {
  const environment = options.environment ?? process.env;
  const go = await findGo(options.what, environment);
  if (binaries.some(({ cgo }) => cgo)) await requireCompiler(options.what, environment);
  if (go.isElsewhere) {
    options.onDetail?.(`getting ${pinnedGo}`);
    await fetchGo(options.what, go);
  }
  for (const binary of binaries) {
    await runGo(goArguments(binary, folder, options.version), {
      ...options,
      environment: {
        ...go.environment,
        CGO_ENABLED: binary.cgo ? "1" : "0",
        ...(binary.platform ? { GOOS: binary.platform.os, GOARCH: binary.platform.arch } : {}),
      },
      folder: join(goModules, binary.module),
    });
  }
}

async function requireCompiler(what: string, environment: NodeJS.ProcessEnv): Promise<void> {
  if ((await findExecutable("gcc", environment)) !== null) return;
  throw new SetUpError(
    what,
    "no-c-compiler",
    "there is no C compiler (gcc) on PATH",
    "apt-get install gcc libc6-dev",
  );
}

function runGo(
  args: readonly string[],
  { what, environment, folder, onDetail, signal }: GoBuildOptions & { readonly folder: string },
): Promise<void> {
  return new Promise((resolve, reject) => {
    // -v: Go prints each package that it has compiled.
    const child = spawn("go", [...args.slice(0, 1), "-v", ...args.slice(1)], {
      cwd: folder,
      env: environment,
      stdio: ["ignore", "pipe", "pipe"],
      ...(signal === undefined ? {} : { signal }),
    });
    const lines: string[] = [];
    let compiled = 0;
    const listen = (line: string) => {
      if (/^[^\s:]+$/.test(line)) {
        compiled += 1;
        onDetail?.(`${compiled} packages compiled`);
        return;
      }
      lines.push(line);
      if (lines.length > keptLines) lines.shift();
      if (line.startsWith("go: downloading ")) onDetail?.(line.slice("go: ".length));
    };
    createInterface(child.stdout).on("line", listen);
    createInterface(child.stderr).on("line", listen);
    // Go ends its compilers; they would outlive this process.
    const endWithUs = (name: NodeJS.Signals) => {
      child.kill(name);
      process.off(name, endWithUs);
      process.kill(process.pid, name);
    };
    const ends: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];
    for (const name of ends) process.on(name, endWithUs);
    const settle = (error?: Error) => {
      for (const name of ends) process.off(name, endWithUs);
      if (error === undefined) resolve();
      else reject(error);
    };
    child.once("error", (error) => settle(signal?.aborted ? error : diagnoseGoFailure(what, error.message)));
    child.once("close", (code, killed) => {
      if (code === 0) settle();
      else settle(diagnoseGoFailure(what, [...lines, killed ? `go: signal: ${killed}` : ""].join("\n")));
    });
  });
}
