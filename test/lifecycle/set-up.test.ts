import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeEach, expect, test } from "vitest";
import { goArguments, goModules } from "../../tools/go-build.ts";
import { findGo } from "../../tools/go-toolchain.ts";
import { pinnedTools } from "../../tools/pinned-tools.ts";
import { pinnedVersion } from "../../tools/tool-folder.ts";
import { findTool, provideTool } from "../../tools/tool-resolver.ts";

const scratch = mkdtempSync(join(tmpdir(), "set-up-"));
afterAll(() => rmSync(scratch, { recursive: true }));

let environment: NodeJS.ProcessEnv = {};
beforeEach(() => {
  const cache = mkdtempSync(join(scratch, "cache-"));
  // A user's setting that would change the bytes. Compiling it takes 2 s with a warm build cache, and 10 to 30 s with an empty one.
  environment = { ...process.env, STAGEX_CACHE: cache, GOFLAGS: "-trimpath=false" };
});

type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

function provideRegistryClient(extra: NodeJS.ProcessEnv = {}): {
  child: ChildProcess;
  ended: Promise<Ended>;
} {
  const program = fileURLToPath(new URL("../support/programs/provide-registry-client.ts", import.meta.url));
  const child = spawn(process.execPath, [program], { env: { ...environment, ...extra }, detached: true });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data) => {
    stdout += data;
  });
  child.stderr.on("data", (data) => {
    stderr += data;
  });
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, stdout, stderr }));
  return { child, ended };
}

const toolsFolder = (): string => join(environment.STAGEX_CACHE ?? "", "tools");
const hashOf = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");

test("a tool is built once, runs, and is found from then on", async () => {
  expect(await findTool("registry-client", { environment })).toBeNull();
  const built = await provideTool("registry-client", { environment });
  expect(built).toMatchObject({
    origin: "built",
    version: await pinnedVersion(pinnedTools["registry-client"]),
  });
  expect(execFileSync(built.path, ["version"], { encoding: "utf8" }).trim()).toBe(built.version);
  const { mtimeMs } = statSync(built.path);
  expect(await provideTool("registry-client", { environment })).toEqual(built);
  expect(await findTool("registry-client", { environment })).toEqual(built);
  expect(statSync(built.path).mtimeMs).toBe(mtimeMs);
});

test("two set-ups at once build it once, and both have it", async () => {
  const ended = await Promise.all([provideRegistryClient().ended, provideRegistryClient().ended]);
  expect(ended.map(({ code }) => code)).toEqual([0, 0]);
  expect(ended[0].stdout).toBe(ended[1].stdout);
  expect(existsSync(ended[0].stdout.trim())).toBe(true);
  expect(readdirSync(toolsFolder())).toEqual([dirname(ended[0].stdout.trim()).split("/").at(-1)]);
});

test("killed in the middle of a build, it leaves nothing that the next run takes for whole", async () => {
  // An empty build cache, so that there is a middle.
  const emptyCache = mkdtempSync(join(scratch, "go-build-"));
  const { child, ended } = provideRegistryClient({ GOCACHE: emptyCache });
  const isBuilding = (): boolean =>
    existsSync(toolsFolder()) && readdirSync(toolsFolder()).some((name) => name.includes(".building-"));
  while (!isBuilding()) await sleep(20);
  await sleep(500);
  process.kill(-(child.pid ?? 0), "SIGKILL");
  expect((await ended).code).toBeNull();
  expect(isBuilding()).toBe(true);
  expect(await findTool("registry-client", { environment })).toBeNull();

  const next = await provideRegistryClient().ended;
  expect(next.code).toBe(0);
  expect(execFileSync(next.stdout.trim(), ["version"], { encoding: "utf8" })).toMatch(/^v\d/);
  expect(readdirSync(toolsFolder())).toHaveLength(1);
});

test("the same bytes come out in another folder, with another user's settings and an empty build cache", async () => {
  // The one program whose source is in this checkout: a path of it could get into the binary. The others' is in the module cache.
  const binary = pinnedTools.runc.buildMethods
    .flatMap(({ binaries }) => binaries)
    .find(({ package: path }) => path === ".");
  if (binary === undefined) throw new Error("no recipe has a program of this checkout");
  const build = async (checkout: string, settings: NodeJS.ProcessEnv): Promise<string> => {
    const out = mkdtempSync(join(scratch, "out-"));
    const go = await findGo("the program", { ...environment, ...settings });
    const options = { cwd: join(checkout, binary.module), env: { ...go.environment, CGO_ENABLED: "0" } };
    execFileSync("go", goArguments(binary, out, "v1.0.0"), options);
    return hashOf(join(out, binary.output));
  };
  const elsewhere = join(scratch, "another checkout");
  cpSync(join(goModules, binary.module), join(elsewhere, binary.module), { recursive: true });
  const settings = { GOFLAGS: "-ldflags=-w", GOAMD64: "v3", GOARM64: "v9.0", GOEXPERIMENT: "nogreenteagc" };
  const emptyCache = mkdtempSync(join(scratch, "go-build-"));
  expect(await build(elsewhere, { ...settings, GOCACHE: emptyCache })).toBe(await build(goModules, {}));
});
