import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { projectRoot } from "../../lib/paths.ts";
import { findExecutable } from "../../tools/executable.ts";

/**
 * The user's own Node, which may be older than the pinned one: the first on PATH outside of these
 * node_modules.
 */
const machinePath = (process.env.PATH ?? "").split(":").filter((folder) => !folder.includes("node_modules"));
const machineNode = (await findExecutable("node", { PATH: machinePath.join(":") })) ?? process.execPath;

let project = "";
beforeEach(() => {
  project = mkdtempSync(join(tmpdir(), "bootstrap-"));
  for (const folder of ["tools", "cli", "dependency", "bin"]) mkdirSync(join(project, folder));
  copyFileSync(join(projectRoot, "tools/bootstrap.mjs"), join(project, "tools/bootstrap.mjs"));
  writeFileSync(
    join(project, "cli/stagex.mjs"),
    `const args = process.argv.slice(2);
     if (args[0] === "wait") { process.on("SIGTERM", () => process.exit(7)); setInterval(() => {}, 1000); }
     console.log(JSON.stringify(args));
     process.exitCode = Number(args[1] ?? 0);`,
  );
  // An offline dependency, so that npm has something to install; it brings the Node that runs TypeScript, as the real ones do.
  packDependency("1.0.0");
  writeFileSync(join(project, "dependency/node"), `#!/bin/sh\nexec "${process.execPath}" "$@"\n`, {
    mode: 0o755,
  });
  writeFileSync(
    join(project, "package.json"),
    JSON.stringify({ dependencies: { dependency: "file:dependency" } }),
  );
  lockWith("1.0.0");
  // The real npm, which also counts how often it is called.
  writeFileSync(
    join(project, "bin/npm"),
    `#!/bin/sh\necho "$*" >> "${project}/npm-calls"\n[ -z "$NPM_IS_SLOW" ] || sleep "$NPM_IS_SLOW"\nPATH="\${PATH#*:}" exec npm "$@"\n`,
  );
  chmodSync(join(project, "bin/npm"), 0o755);
});
afterEach(() => rmSync(project, { recursive: true }));

function packDependency(version: string): void {
  const content = { name: "dependency", version, bin: { node: "node" } };
  writeFileSync(join(project, "dependency/package.json"), JSON.stringify(content));
}

function lockWith(version: string): void {
  const dependency = { dependency: "file:dependency" };
  const packages = {
    "": { dependencies: dependency },
    dependency: { version, bin: { node: "node" } },
    "node_modules/dependency": { resolved: "dependency", link: true },
  };
  writeFileSync(
    join(project, "package-lock.json"),
    JSON.stringify({ lockfileVersion: 3, requires: true, packages }),
  );
}

type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

function start(
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): { child: ChildProcess; ended: Promise<Ended> } {
  const { npm_execpath: _, ...inherited } = process.env;
  const env = { ...inherited, PATH: `${join(project, "bin")}:${process.env.PATH}`, ...environment };
  const child = spawn(machineNode, [join(project, "tools/bootstrap.mjs"), ...args], {
    env,
    detached: true,
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data) => {
    stdout += data;
  });
  child.stderr.on("data", (data) => {
    stderr += data;
  });
  return {
    child,
    ended: once(child, "close").then(([code]) => ({ code: code as number | null, stdout, stderr })),
  };
}

const run = (args: readonly string[], environment?: NodeJS.ProcessEnv): Promise<Ended> =>
  start(args, environment).ended;
const npmCalls = (): number =>
  existsSync(join(project, "npm-calls"))
    ? readFileSync(join(project, "npm-calls"), "utf8").trim().split("\n").length
    : 0;

test("installs once, and passes arguments, output and exit code through", async () => {
  const first = await run(["start", "3", "--", "a b"]);
  expect(first).toMatchObject({ code: 3, stdout: `${JSON.stringify(["start", "3", "--", "a b"])}\n` });
  expect(first.stderr).toContain("installing the dependencies");
  const second = await run(["stagex", "show", "0"]);
  // Nothing is said, and the word `stagex` is the command itself.
  expect(second).toEqual({ code: 0, stdout: `${JSON.stringify(["show", "0"])}\n`, stderr: "" });
  expect(npmCalls()).toBe(1);
});

test("installs again when the lock file says something else", async () => {
  await run(["start"]);
  packDependency("1.1.0");
  lockWith("1.1.0");
  expect((await run(["start"])).code).toBe(0);
  expect(npmCalls()).toBe(2);
});

test("without what is for development alone, all but the tests runs", async () => {
  mkdirSync(join(project, "checker"));
  writeFileSync(join(project, "checker/package.json"), JSON.stringify({ name: "checker", version: "1.0.0" }));
  const roots = {
    dependencies: { dependency: "file:dependency" },
    devDependencies: { checker: "file:checker" },
  };
  writeFileSync(join(project, "package.json"), JSON.stringify(roots));
  const packages = {
    "": roots,
    checker: { version: "1.0.0", dev: true },
    dependency: { version: "1.0.0", bin: { node: "node" } },
    "node_modules/checker": { resolved: "checker", link: true, dev: true },
    "node_modules/dependency": { resolved: "dependency", link: true },
  };
  writeFileSync(
    join(project, "package-lock.json"),
    JSON.stringify({ lockfileVersion: 3, requires: true, packages }),
  );
  execFileSync("npm", ["ci", "--omit=dev", "--offline"], { cwd: project, stdio: "ignore" });
  expect(existsSync(join(project, "node_modules/checker"))).toBe(false);
  expect(await run(["start"])).toMatchObject({ code: 0, stderr: "" });
  expect(npmCalls()).toBe(0);
  expect((await run(["test"])).code).toBe(0);
  expect(existsSync(join(project, "node_modules/checker"))).toBe(true);
});

test("below node_modules, where Node runs no TypeScript, it says what to do instead", async () => {
  const copy = join(project, "node_modules/stagex-pulumi");
  mkdirSync(join(copy, "tools"), { recursive: true });
  copyFileSync(join(projectRoot, "tools/bootstrap.mjs"), join(copy, "tools/bootstrap.mjs"));
  const { status, stderr } = spawnSync(machineNode, [join(copy, "tools/bootstrap.mjs"), "start"], {
    encoding: "utf8",
  });
  expect(status).toBe(69);
  expect(stderr).toMatch(/below node_modules .*\n {2}to fix it: clone the repository/);
});

test("two at once install once; the other waits and says so", async () => {
  const both = await Promise.all([
    run(["start"], { NPM_IS_SLOW: "1" }),
    run(["start"], { NPM_IS_SLOW: "1" }),
  ]);
  expect(both.map(({ code }) => code)).toEqual([0, 0]);
  expect(npmCalls()).toBe(1);
  expect(both.filter(({ stderr }) => stderr.includes("waiting for it"))).toHaveLength(1);
  expect(readdirSync(join(project, ".stagex"))).toEqual([]);
});

test("killed with its npm while it installs, it installs at the next start", async () => {
  const { child, ended } = start(["start"], { NPM_IS_SLOW: "1" });
  while (npmCalls() === 0) await sleep(20);
  // The whole process group, as a closing terminal or a stopped container does.
  process.kill(-(child.pid ?? 0), "SIGKILL");
  await ended;
  expect(readdirSync(join(project, ".stagex"))).toEqual(["install.lock"]);
  expect((await run(["start"])).code).toBe(0);
  expect(npmCalls()).toBe(2);
  expect(readdirSync(join(project, ".stagex"))).toEqual([]);
});

test("killed alone while it installs, the next start waits for the npm that goes on", async () => {
  const { child } = start(["start"], { NPM_IS_SLOW: "1" });
  while (npmCalls() === 0) await sleep(20);
  child.kill("SIGKILL");
  const next = await run(["start"]);
  expect(next.code).toBe(0);
  expect(next.stderr).toContain("waiting for it");
  expect(npmCalls()).toBe(1);
});

test("reports a failing npm, with the command that fixes it", async () => {
  writeFileSync(join(project, "bin/npm"), "#!/bin/sh\necho 'no network' >&2\nexit 1\n");
  const { code, stderr, stdout } = await run(["start"]);
  expect(code).toBe(69);
  expect(stderr).toMatch(/no network\n.*npm ci failed[^\n]*\n {2}to fix it: npm ci --ignore-scripts/s);
  expect(stdout).toBe("");
});

test("a signal reaches the command, and its exit code comes back", async () => {
  await run(["start"]);
  const { child, ended } = start(["wait"]);
  await once(child.stdout ?? child, "data");
  child.kill("SIGTERM");
  expect((await ended).code).toBe(7);
});
