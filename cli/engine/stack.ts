import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdir, open, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { renamedKeys } from "../../config/renamed-keys.ts";
import type { ConfigKey } from "../../config/schema.ts";
import type { Paths } from "../../lib/paths.ts";
import { printable } from "../../lib/text/printable.ts";
import { printError } from "../../lib/text/terminal.ts";
import { terminateOrphans } from "../../pulumi-workarounds/orphan-processes.ts";
import { type LockHolder, removeStaleLocks } from "../../pulumi-workarounds/stale-locks.ts";
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

const packageState = z.object({
  inputs: z.object({ version: z.string(), platforms: z.array(z.string()) }),
  outputs: z.object({ inputKey: z.string(), digests: z.record(z.string(), z.string()), index: z.string() }),
});

/** An image in the state of a stack. */
export type StackPackage = {
  readonly image: string;
  readonly version: string;
  readonly inputKey: string;
  /** In the order of the package: StageX publishes the digest of the first. */
  readonly platforms: readonly string[];
  /** The manifest of each platform. */
  readonly digests: Readonly<Record<string, string>>;
  /** The index over all platforms. */
  readonly index: string;
};

/** A stack of this project, on the real engine. */
export class Stack {
  readonly name: string;
  readonly #engine: EnginePrograms;
  readonly #paths: Paths;

  constructor(name: string, engine: EnginePrograms, paths: Paths) {
    this.name = name;
    this.#engine = engine;
    this.#paths = paths;
  }

  /** Selects the stack, and creates it if there is none. */
  async select(): Promise<void> {
    await mkdir(this.#paths.backend, { recursive: true });
    await this.#output(["stack", "select", "--create", this.name]);
  }

  /** Creates the stack if there is none, and leaves the selection as it is. */
  async create(): Promise<void> {
    await mkdir(this.#paths.backend, { recursive: true });
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
   * Runs the engine, and overwrites a file with its output.
   * @throws CommandError with the end of that file, if the engine fails
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
   * Removes the locks that killed engines left.
   * @returns the engine on this machine that is at work on this stack, if there is one
   */
  async removeStaleLocks(): Promise<LockHolder | undefined> {
    return await removeStaleLocks(this.#paths.backend, this.name);
  }

  /**
   * Runs the engine on the stack, with the terminal of the user.
   * @returns its exit code, or the signal that ended it
   */
  async run(args: readonly string[], extra: NodeJS.ProcessEnv = {}): Promise<number | NodeJS.Signals> {
    return await this.#run(args, extra, "inherit");
  }

  async #run(
    args: readonly string[],
    extra: NodeJS.ProcessEnv,
    output: "inherit" | number,
  ): Promise<number | NodeJS.Signals> {
    const state = await StateBackup.find(this.#paths.backend, this.name);
    const restored = (await this.removeStaleLocks()) === undefined ? await state?.restore() : undefined;
    if (restored) printError(printable`${stateRestored(this.name, restored)}`);
    await state?.backUp();
    const run = randomUUID();
    const child = spawn(this.#engine.pulumi, [...args, "--stack", this.name], {
      cwd: this.#paths.project,
      env: { ...engineEnvironment(this.#engine), ...extra, STAGEX_RUN: run },
      stdio: ["ignore", output, output],
    });
    // Ctrl-C reaches the engine as well, which ends its builds first. This process ends after it.
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

  /** Returns the manifest digest of each image in the state of the stack. */
  async readDigests(): Promise<Map<string, string>> {
    const packages = await this.#packageStates();
    return new Map(packages.map(({ id, outputs }) => [String(id), String(outputs?.digest)]));
  }

  /** Returns the images in the state of the stack that have outputs. */
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

  /** Returns the outputs of the stack. */
  async readOutputs(): Promise<Record<string, unknown>> {
    const text = await this.#output(["stack", "output", "--json", "--stack", this.name]);
    return z.record(z.string(), z.unknown()).parse(JSON.parse(text));
  }

  /** Returns the `stagex:` configuration, its keys without the prefix. */
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
      cwd: this.#paths.project,
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

function stateRestored(name: string, written: Date): string {
  return (
    `the state of stack ${name} was cut off, as a full disk leaves it: went back to that of ${written.toISOString()}; ` +
    "images that were built since are in the ledger"
  );
}
