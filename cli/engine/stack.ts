import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdir, open, readdir, readFile, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { renamedKeys } from "../../config/renamed-keys.ts";
import type { ConfigKey } from "../../config/schema.ts";
import { identityOf } from "../../lib/fs/pid-identity.ts";
import type { Paths } from "../../lib/paths.ts";
import { printable } from "../../lib/text/printable.ts";
import { printError } from "../../lib/text/terminal.ts";
import { terminateOrphans } from "../../pulumi-workarounds/orphan-processes.ts";
import { StateBackup } from "../../pulumi-workarounds/state-backup.ts";
import { type EnginePrograms, engineEnvironment } from "../../tools/engine-environment.ts";
import { CommandError, exitCode } from "../output/exit-code.ts";

const exported = z.object({
  deployment: z.object({
    resources: z
      .array(
        z.object({
          type: z.string(),
          id: z.string().optional(),
          inputs: z.record(z.string(), z.unknown()).optional(),
          outputs: z.record(z.string(), z.unknown()).optional(),
        }),
      )
      .default([]),
  }),
});
const configured = z.record(
  z.string(),
  z.object({ value: z.string().optional(), objectValue: z.unknown().optional() }),
);
const heldLock = z.object({ pid: z.number(), hostname: z.string(), timestamp: z.string() });

const packageState = z.object({
  inputs: z.object({ version: z.string(), platforms: z.array(z.string()) }),
  outputs: z.object({ inputKey: z.string(), digests: z.record(z.string(), z.string()), index: z.string() }),
});

/** An image in a stack's state. */
export type StackPackage = {
  readonly image: string;
  readonly version: string;
  readonly inputKey: string;
  /** In their order: StageX publishes the digest of the first. */
  readonly platforms: readonly string[];
  /** The manifest of each platform. */
  readonly digests: Readonly<Record<string, string>>;
  /** The index over all platforms. */
  readonly index: string;
};

/** Which engine has a stack locked, and since when (RFC 3339). */
export type LockHolder = z.infer<typeof heldLock>;

/** One stack of this project, on the real engine. */
export class Stack {
  readonly name: string;
  readonly #engine: EnginePrograms;
  readonly #places: Paths;

  constructor(name: string, engine: EnginePrograms, paths: Paths) {
    this.name = name;
    this.#engine = engine;
    this.#places = paths;
  }

  /** Selects the stack, and makes it where there is none. */
  async select(): Promise<void> {
    await mkdir(this.#places.backend, { recursive: true });
    await this.#output(["stack", "select", "--create", this.name]);
  }

  /** Makes the stack where there is none; which one is selected stays as it is. */
  async create(): Promise<void> {
    await mkdir(this.#places.backend, { recursive: true });
    const listed = z.array(z.object({ name: z.string() }));
    const stacks = listed.parse(JSON.parse(await this.#output(["stack", "ls", "--json"])));
    if (stacks.some(({ name }) => name === this.name)) return;
    await this.#output(["stack", "init", "--no-select", this.name]);
  }

  /** Sets `stagex:` keys, as text, where they are not so already. Removes the old names of these keys. */
  async setConfig(settings: Readonly<Partial<Record<ConfigKey, string>>>): Promise<void> {
    const before = await this.getConfig();
    const old = Object.keys(before).filter((key) => Object.hasOwn(settings, renamedKeys.get(key) ?? ""));
    if (old.length > 0)
      await this.#output(["config", "rm-all", ...old.map((key) => `stagex:${key}`), "--stack", this.name]);
    const changed = Object.entries(settings).filter(([key, value]) => before[key] !== value);
    if (changed.length === 0) return;
    const pairs = changed.flatMap(([key, value]) => ["--plaintext", `stagex:${key}=${value}`]);
    await this.#output(["config", "set-all", ...pairs, "--stack", this.name]);
  }

  /**
   * Runs the engine with its output in a file, which is overwritten.
   * @throws CommandError with the end of that file where it does not end well
   */
  async runLogged(args: readonly string[], log: string, extra: NodeJS.ProcessEnv = {}): Promise<void> {
    await mkdir(dirname(log), { recursive: true });
    const file = await open(log, "w");
    try {
      const ended = await this.#run([...args, "--color", "never", "--non-interactive"], extra, file.fd);
      if (ended === 0) return;
      const tail = (await readFile(log, "utf8")).trimEnd().split("\n").slice(-40);
      const words = `pulumi ${args[0]} on stack ${this.name} ended with ${ended}:`;
      throw new CommandError(`${words}\n${tail.join("\n")}\nThe whole log: ${log}`, exitCode.no);
    } finally {
      await file.close();
    }
  }

  /**
   * Removes what an engine that was killed left locked. A lock whose process lives, or is on another machine, stays.
   *
   * @returns the engine on this machine that is at work on this stack, if one is
   */
  async removeStaleLocks(): Promise<LockHolder | undefined> {
    const folder = join(this.#places.backend, ".pulumi", "locks");
    const files = await readdir(folder, { recursive: true }).catch(() => []);
    let holder: LockHolder | undefined;
    for (const file of files.filter((name) => name.endsWith(".json"))) {
      const path = join(folder, file);
      const lock = heldLock.safeParse(jsonOrNull(await readFile(path, "utf8").catch(() => "")));
      if (!lock.success || lock.data.hostname !== hostname()) continue;
      if (!(await isEngine(lock.data.pid))) await rm(path, { force: true });
      else if (basename(dirname(path)) === this.name) holder = lock.data;
    }
    return holder;
  }

  /** Runs the engine on the stack with the user's terminal; resolves to its exit code, or the signal that ended it. */
  async run(args: readonly string[], extra: NodeJS.ProcessEnv = {}): Promise<number | NodeJS.Signals> {
    return await this.#run(args, extra, "inherit");
  }

  async #run(
    args: readonly string[],
    extra: NodeJS.ProcessEnv,
    output: "inherit" | number,
  ): Promise<number | NodeJS.Signals> {
    const state = await StateBackup.find(this.#places.backend, this.name);
    const mended = (await this.removeStaleLocks()) === undefined ? await state?.restore() : undefined;
    if (mended) printError(printable`${stateMended(this.name, mended)}`);
    await state?.backUp();
    const run = randomUUID();
    const child = spawn(this.#engine.pulumi, [...args, "--stack", this.name], {
      cwd: this.#places.project,
      env: { ...engineEnvironment(this.#engine), ...extra, STAGEX_RUN: run },
      stdio: ["ignore", output, output],
    });
    // Ctrl-C reaches the engine as well, which ends its builds first; we end when it has.
    const ignore = (): void => {};
    process.on("SIGINT", ignore);
    try {
      const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals];
      if (code !== null) return code;
      await terminateOrphans("STAGEX_RUN", run);
      return signal;
    } finally {
      process.off("SIGINT", ignore);
    }
  }

  /** The manifest digest of each image in the stack's state. */
  async readDigests(): Promise<Map<string, string>> {
    const packages = await this.#packageStates();
    return new Map(packages.map(({ id, outputs }) => [String(id), String(outputs?.digest)]));
  }

  /** The images in the stack's state that have been made. */
  async readPackages(): Promise<StackPackage[]> {
    return (await this.#packageStates()).flatMap((resource) => {
      const { data } = packageState.safeParse(resource);
      return data ? [{ image: String(resource.id), ...data.inputs, ...data.outputs }] : [];
    });
  }

  async #packageStates() {
    const state = exported.parse(JSON.parse(await this.#output(["stack", "export", "--stack", this.name])));
    return state.deployment.resources.filter(({ type }) => type === "stagex:index:Package");
  }

  /** The stack's outputs. */
  async readOutputs(): Promise<Record<string, unknown>> {
    const text = await this.#output(["stack", "output", "--json", "--stack", this.name]);
    return z.record(z.string(), z.unknown()).parse(JSON.parse(text));
  }

  /** The `stagex:` configuration, keys without the prefix. */
  async getConfig(): Promise<Record<string, unknown>> {
    const all = configured.parse(
      JSON.parse(await this.#output(["config", "--json", "--show-secrets", "--stack", this.name])),
    );
    const own = Object.entries(all).filter(([key]) => key.startsWith("stagex:"));
    return Object.fromEntries(
      own.map(([key, { value, objectValue }]) => [key.slice("stagex:".length), objectValue ?? value]),
    );
  }

  async #output(args: readonly string[]): Promise<string> {
    const child = spawn(this.#engine.pulumi, [...args, "--non-interactive"], {
      cwd: this.#places.project,
      env: engineEnvironment(this.#engine),
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [out, error] = await Promise.all([
      child.stdout.toArray(),
      child.stderr.toArray(),
      once(child, "close"),
    ]);
    if (child.exitCode === 0) return Buffer.concat(out).toString();
    const said = Buffer.concat(error).toString().trim();
    throw new CommandError(`pulumi ${args.join(" ")} ended with ${child.exitCode}:\n${said}`, exitCode.no);
  }
}

function stateMended(name: string, written: Date): string {
  return (
    `the state of stack ${name} was cut off, as a full disk leaves it: went back to that of ${written.toISOString()}; ` +
    "images that were built since are in the ledger"
  );
}

/** An engine that was killed as it wrote left half a lock, or an empty one: whose it is can't be told. */
function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Whether an engine runs under this number, rather than nothing, its zombie, or what got the number later. */
async function isEngine(pid: number): Promise<boolean> {
  if (identityOf(pid) === undefined) return false;
  const name = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => undefined);
  return name === undefined || name.trim() === "pulumi";
}
