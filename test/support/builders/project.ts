import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { pathsOf, projectRoot } from "../../../lib/paths.ts";
import { type EnginePrograms, engineEnvironment } from "../../../tools/engine-environment.ts";
import { prepareEngineFolder } from "../../../tools/engine-folder.ts";
import { realTool } from "../real-tools.ts";
import { processesOf } from "./leftovers.ts";

const execute = promisify(execFile);

/** The folders of the program, the provider and the `stagex` command. */
const sourceRooms =
  "stacks components providers pipeline config pulumi-workarounds distro trust sources oci buildkit tools cli lib".split(
    " ",
  );

/** The result of a run of the engine. */
export type Run = { readonly code: number | null; readonly output: string };

/** A run in a process group of its own, with its output so far and to its end. */
export type Running = { readonly process: ChildProcess; readonly output: () => string };

/**
 * A project of the test's own: this checkout's program and provider. State, store, cache and a copy
 * of the seed tree are in a temporary folder. It runs the real engine, provider and BuildKit.
 */
export class Project implements AsyncDisposable {
  readonly folder: string;
  /** The copy of the seed tree, a git repository. */
  readonly tree: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly #pulumi: string;
  /** The command that starts a program. */
  readonly #starter: readonly string[];

  private constructor(folder: string, cache: string, engine: EnginePrograms, isNamed: boolean) {
    this.folder = folder;
    this.#starter = isNamed
      ? ["unshare", "--mount", "--", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', this.hosts]
      : [];
    this.tree = join(folder, "tree");
    this.#pulumi = engine.pulumi;
    this.environment = {
      ...engineEnvironment(engine),
      PULUMI_HOME: join(folder, "pulumi-home"),
      STAGEX_CACHE: cache,
      STAGEX_JOURNAL: join(folder, "journal.jsonl"),
      PULUMI_CONFIG_PASSPHRASE: "",
      PULUMI_SKIP_UPDATE_CHECK: "true",
    };
    delete this.environment.BUILDKIT_HOST;
  }

  /**
   * @param place its parts may be left out:
   * `folder`: the project's folder, by default a new one below the system's temporary folder;
   * `cache`: its cache, which another project may share, by default its own;
   * `hosts`: an `/etc/hosts` for its processes, which takes root
   */
  static async create(place: { folder?: string; cache?: string; hosts?: string } = {}): Promise<Project> {
    const programs = { pulumi: realTool("pulumi"), languageHost: realTool("pulumi-language-nodejs") };
    const engine = await prepareEngineFolder(programs, pathsOf().tools);
    const folder = place.folder ?? (await mkdtemp(join(tmpdir(), "stagex-project-")));
    const cache = place.cache ?? join(folder, "cache");
    const project = new Project(folder, cache, engine, place.hosts !== undefined);
    await mkdir(folder, { recursive: true });
    if (place.hosts !== undefined) await writeFile(project.hosts, place.hosts);
    // Copies, not links: the engine takes the real folder of its program for the project.
    for (const part of ["Pulumi.yaml", "package.json", "index.ts", ...sourceRooms]) {
      const source = join(projectRoot, part);
      if (existsSync(source)) await cp(source, join(project.folder, part), { recursive: true });
    }
    await symlink(join(projectRoot, "node_modules"), join(project.folder, "node_modules"));
    await cp(join(projectRoot, "examples/seed-tree"), project.tree, { recursive: true });
    // Sources and trees are the test's own; the tools are shared.
    if (place.cache === undefined) {
      await mkdir(join(project.folder, "cache"));
      await symlink(pathsOf().tools, join(project.folder, "cache/tools"));
    }
    await mkdir(join(project.folder, ".stagex/pulumi"), { recursive: true });
    await project.git("init", "--quiet");
    await project.commit("The seed tree");
    await project.run(["stack", "init", "test"]);
    await project.run(["config", "set", "stagex:tree", "tree", "--stack", "test"]);
    return project;
  }

  /** The `/etc/hosts` of the processes here, if one was requested. */
  get hosts(): string {
    return join(this.folder, "hosts");
  }

  /**
   * Sets a `stagex:` key of a stack. `pulumi config set` does the same, but takes the engine a
   * second each time.
   */
  async set(key: string, value: string, stack = "test"): Promise<void> {
    const file = join(this.folder, `Pulumi.${stack}.yaml`);
    const lines = (await readFile(file, "utf8")).trimEnd().split("\n");
    const old = lines.findIndex((line) => line.startsWith(`  stagex:${key}:`));
    if (old !== -1) {
      // A value of several lines is indented further than its key.
      const next = lines.findIndex((line, index) => index > old && !line.startsWith("   "));
      lines.splice(old, (next === -1 ? lines.length : next) - old);
    }
    const entry = `  stagex:${key}: ${JSON.stringify(value)}`;
    const config = lines.findIndex((line) => /^config:/.test(line));
    const others = lines.filter((_, index) => index !== config);
    others.splice(config === -1 ? others.length : config, 0, "config:", entry);
    await writeFile(file, `${others.join("\n")}\n`);
  }

  /** Runs the engine to its end. */
  async run(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Run> {
    return await ended(this.start(args, environment));
  }

  /** Runs `pulumi up`; `built` has the images that BuildKit built. */
  async up(
    args: readonly string[] = [],
    environment: NodeJS.ProcessEnv = {},
  ): Promise<Run & { built: string[] }> {
    await rm(join(this.folder, "journal.jsonl"), { force: true });
    const run = await this.run(["up", "--yes", "--skip-preview", "--stack", "test", ...args], environment);
    return { ...run, built: await this.built() };
  }

  /** Starts the engine, and leaves it running. */
  start(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Running {
    return this.#spawn(this.#pulumi, [...args, "--non-interactive", "--color", "never"], environment);
  }

  /** Runs `stagex start` to its end, which is `npm start` with the dependencies installed. */
  async stagexStart(args: readonly string[] = [], environment: NodeJS.ProcessEnv = {}): Promise<Run> {
    return await ended(this.startStagex(["start", "--stack", "test", ...args], environment));
  }

  /** Starts this project's own `stagex` command, and leaves it running. */
  startStagex(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Running {
    return this.#spawn(process.execPath, [join(this.folder, "cli/stagex.mjs"), ...args], environment);
  }

  /**
   * Starts a program as a terminal does: in a process group of its own, which Ctrl-C reaches as a
   * whole.
   */
  #spawn(program: string, args: readonly string[], environment: NodeJS.ProcessEnv): Running {
    const [command = "", ...words] = [...this.#starter, program, ...args];
    const child = spawn(command, words, {
      cwd: this.folder,
      env: { ...this.environment, ...environment },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
    return { process: child, output: () => output };
  }

  /** Returns the images that the last `up` built, sorted. */
  async built(): Promise<string[]> {
    const journal = await readFile(join(this.folder, "journal.jsonl"), "utf8").catch(() => "");
    return journal
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as { image: string; origin: string })
      .filter(({ origin }) => origin === "built")
      .map(({ image }) => image)
      .sort();
  }

  /** Returns the digests in the stack's outputs, by image. */
  async digests(): Promise<Record<string, string>> {
    const { output } = await this.run(["stack", "output", "images", "--json", "--stack", "test"]);
    return JSON.parse(output) as Record<string, string>;
  }

  /** Returns the whole exported state, as text. */
  async state(): Promise<string> {
    return (await this.run(["stack", "export", "--stack", "test"])).output;
  }

  /** Changes a file of the tree, in the working tree alone. */
  async edit(file: string, change: (text: string) => string): Promise<void> {
    const path = join(this.tree, file);
    await writeFile(path, change(await readFile(path, "utf8")));
  }

  async git(...args: string[]): Promise<void> {
    await execute("git", [
      "-C",
      this.tree,
      "-c",
      "user.name=Test",
      "-c",
      "user.email=test@example.org",
      ...args,
    ]);
  }

  async commit(message: string): Promise<void> {
    await this.git("add", "--all", "--force");
    await this.git("commit", "--quiet", "--message", message);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemonsGone();
    // The reaper of a daemon that has ended checks once more, and locks its folder for that moment.
    await rm(this.folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }

  /**
   * Waits for the end of a run's private daemons. They end by themselves soon after it, and write
   * to the folder until then.
   */
  async #daemonsGone(): Promise<void> {
    const patience = Date.now() + 30_000;
    while ((await processesOf(this.folder, /buildkitd --config/)).length > 0 && Date.now() < patience)
      await sleep(200);
  }
}

/** Waits for a run's end, and for its output's. */
export async function ended({ process: child, output }: Running): Promise<Run> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "close");
  return { code: child.exitCode, output: output() };
}

/** Flips the lowest bit of one byte in the middle of a file, which may be read-only. */
export async function flipByte(path: string): Promise<void> {
  const bytes = await readFile(path);
  const middle = bytes.length >> 1;
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  await chmod(path, 0o644);
  await writeFile(path, bytes);
}

/** Returns the digests that a tree publishes, by image. */
export async function publishedDigests(tree: string): Promise<Record<string, string>> {
  const published: Record<string, string> = {};
  for (const file of await readdir(join(tree, "digests"))) {
    const lines = (await readFile(join(tree, "digests", file), "utf8")).trim().split("\n");
    for (const line of lines) {
      const [hex = "", image = ""] = line.split(" ");
      published[image] = `sha256:${hex}`;
    }
  }
  return published;
}
