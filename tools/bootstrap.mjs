/**
 * The entry of `npm start`, `npm test`, `npm run stagex` and `npm run pulumi`.
 *
 * It installs the dependencies where they are missing or differ from package-lock.json, and then
 * executes `cli/stagex.mjs` on the pinned Node. It is plain JavaScript, as it runs on the machine's
 * Node (20 or newer) before anything is installed.
 */
import { spawn } from "node:child_process";
import { existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** Of sysexits.h: a requirement is missing. The whole table is in cli/output/exit-code.ts. */
const UNAVAILABLE = 69;

const project = dirname(dirname(fileURLToPath(import.meta.url)));
const pinnedNode = join(project, "node_modules/.bin/node");

/** Ends the program with an error and its fix. */
function fail(message, fix) {
  process.stderr.write(`stagex: ${message}\n  to fix it: ${fix}\n`);
  process.exit(UNAVAILABLE);
}

/**
 * Node runs no TypeScript below node_modules (nodejs.org/api/typescript.html, "Type stripping in
 * dependencies").
 */
function checkLocation() {
  if (!project.split(sep).includes("node_modules")) return;
  fail(
    `this is a copy below node_modules (${project}), where Node runs no TypeScript`,
    "clone the repository, and run npm start there; npm install FOLDER links a clone into a project of yours",
  );
}

function checkNode() {
  const major = Number.parseInt(process.versions.node, 10);
  if (process.platform === "win32") {
    fail("Windows is supported in WSL only", "wsl --install, then clone and start inside of it");
  }
  if (major < 20) {
    fail(
      `this is Node ${process.versions.node} (${process.execPath}); 20 or newer is needed to install Node 24`,
      "install Node 20 or newer: https://nodejs.org/en/download",
    );
  }
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}

/** Whether this machine needs this entry of the lock file. */
function isNeededHere(entry) {
  if (!entry.optional) return true;
  // npm chooses packages for one libc, or without os and cpu; the pinned Node is not one of them.
  const isForOneMachine = entry.os !== undefined && entry.cpu !== undefined && entry.libc === undefined;
  return isForOneMachine && entry.os.includes(process.platform) && entry.cpu.includes(process.arch);
}

/**
 * Whether node_modules matches package-lock.json. Only the tests need development dependencies,
 * which `npm ci --omit=dev` omits. npm writes its own record, node_modules/.package-lock.json,
 * last, so that a killed installation has none. A stamp of our own would not know of the user's
 * `npm install`.
 */
function isInstalled(folder, forTests) {
  const wanted = readJson(join(folder, "package-lock.json"));
  const present = readJson(join(folder, "node_modules/.package-lock.json"));
  if (wanted?.packages === undefined) {
    fail(
      `${join(folder, "package-lock.json")} is missing or damaged`,
      "git checkout -- package-lock.json; npm pack omits that file: clone the repository instead",
    );
  }
  return Object.entries(wanted.packages).every(([path, entry]) => {
    if (path === "" || !isNeededHere(entry)) return true;
    const found = present?.packages?.[path];
    if (found === undefined) return !forTests && Boolean(entry.dev || entry.devOptional);
    return found.version === entry.version && found.integrity === entry.integrity;
  });
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/**
 * Takes the lock file, which has the ids of its owner's processes. Renames a lock of a dead owner:
 * of two processes that try, one renames it and the other finds it gone.
 *
 * @returns undefined where the lock is taken, else the id of a living process that holds it
 */
function takeLock(lock) {
  const own = `${lock}.${process.pid}`;
  writeFileSync(own, JSON.stringify([process.pid]));
  try {
    linkSync(own, lock);
    return undefined;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
  } finally {
    rmSync(own, { force: true });
  }
  const owners = readJson(lock) ?? [];
  const alive = owners.find(isAlive);
  if (alive !== undefined) return alive;
  const stale = `${lock}.stale-${process.pid}`;
  try {
    renameSync(lock, stale);
    // Another process may have taken the lock between the read and the rename: give it back.
    if (readJson(stale)?.[0] !== owners[0]) linkSync(stale, lock);
  } catch (error) {
    if (error.code !== "ENOENT" && error.code !== "EEXIST") throw error;
  }
  rmSync(stale, { force: true });
  return takeLock(lock);
}

/**
 * Adds npm to the owners of the lock: if it outlives this process it still writes to node_modules.
 */
function shareLock(lock, child) {
  const own = `${lock}.${process.pid}`;
  writeFileSync(own, JSON.stringify([process.pid, child]));
  renameSync(own, lock);
}

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function installDependencies(forTests) {
  if (isInstalled(project, forTests)) return;
  mkdirSync(join(project, ".stagex"), { recursive: true });
  const lock = join(project, ".stagex/install.lock");
  for (let isReported = false; ; isReported = true) {
    const owner = takeLock(lock);
    if (owner === undefined) break;
    if (!isReported)
      process.stderr.write(`process ${owner} is installing the dependencies; waiting for it …\n`);
    await sleep(500);
  }
  try {
    if (!isInstalled(project, forTests)) await runNpmCi((npm) => shareLock(lock, npm));
  } finally {
    rmSync(lock, { force: true });
  }
}

async function runNpmCi(onStart) {
  // `--ignore-scripts`: no dependency needs an install script, so none of 200 packages runs one.
  // `--include`: also with NODE_ENV=production, and where the user's npmrc omits optional packages.
  // `--loglevel`: hides warnings about this Node, as the packages run on the pinned one.
  const args = ["ci", "--ignore-scripts", "--include=dev", "--include=optional", "--loglevel=error"];
  // The calling npm; the one on PATH under pnpm, yarn or none.
  const running = process.env.npm_execpath ?? "";
  const command = running.endsWith("npm-cli.js") ? [process.execPath, running, ...args] : ["npm", ...args];
  const started = Date.now();
  const elapsed = () => `${Math.round((Date.now() - started) / 1000)} s`;
  process.stderr.write("installing the dependencies, Node 24 among them (npm ci) …\n");
  // A terminal has npm's own progress; a log gets a line now and then.
  const pulse = process.stderr.isTTY
    ? undefined
    : setInterval(() => process.stderr.write(`installing the dependencies … ${elapsed()}\n`), 15_000);
  // npm's output goes to stderr: stdout is the command's, such as `stagex env`.
  const { error, code } = await run(command, { cwd: project, stdio: ["ignore", 2, 2] }, onStart);
  clearInterval(pulse);
  if (error !== undefined) fail(`npm could not be started: ${error.message}`, "apt-get install npm");
  if (code !== 0) {
    fail(`npm ci failed after ${elapsed()} (its reason is above)`, "npm ci --ignore-scripts");
  }
  if (!isInstalled(project, true)) {
    fail("npm ci succeeded, but node_modules does not match package-lock.json", "npm ci --ignore-scripts");
  }
  process.stderr.write(`installed the dependencies in ${elapsed()}\n`);
}

/** Runs a command to its end, and forwards this process's signals to it. */
function run([file, ...args], options, onStart = () => {}) {
  return new Promise((resolve) => {
    const child = spawn(file, args, options);
    if (child.pid !== undefined) onStart(child.pid);
    const forward = (signal) => {
      // Ctrl-C in a terminal reaches the child too, and the engine takes a second one as "stop at
      // once".
      if (signal === "SIGINT" && process.stdin.isTTY) return;
      child.kill(signal);
    };
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, forward);
    child.on("error", (error) => resolve({ error, code: UNAVAILABLE }));
    child.on("exit", (code, signal) => {
      for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.off(name, forward);
      resolve({ error: undefined, code: code ?? 128 + (constants.signals[signal] ?? 0) });
    });
  });
}

/**
 * Chooses the Node that runs TypeScript: the pinned one, or the running one if it is new enough.
 */
function chooseNode() {
  if (existsSync(pinnedNode)) return pinnedNode;
  if (Number.parseInt(process.versions.node, 10) >= 24) return process.execPath;
  return fail(
    `there is no pinned Node 24 for ${process.platform} ${process.arch}, and this is Node ${process.versions.node}`,
    "install Node 24: https://nodejs.org/en/download",
  );
}

async function main() {
  checkLocation();
  checkNode();
  const args = process.argv.slice(2);
  await installDependencies(args[0] === "test");
  // `npm run stagex -- show` passes `stagex show`; `npm start` passes `start`.
  const command = args[0] === "stagex" ? args.slice(1) : args;
  const node = chooseNode();
  const argv = [node, join(project, "cli/stagex.mjs"), ...command];
  // execve (Node 22.15 and newer) leaves no process between the command and its signals.
  if (process.execve !== undefined) {
    process.execve(node, argv, process.env);
  }
  const { error, code } = await run(argv, { stdio: "inherit" });
  if (error !== undefined) fail(`${node} could not be started: ${error.message}`, "npm ci --ignore-scripts");
  process.exitCode = code;
}

await main();
