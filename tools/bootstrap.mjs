/**
 * The door: what `npm start`, `npm test`, `npm run stagex` and `npm run pulumi` call.
 *
 * It installs the dependencies where they are missing or older than package-lock.json, and then becomes
 * `cli/stagex.mjs` on the pinned Node. It is in plain JavaScript, because it must run on
 * whatever Node (20 or newer) the machine has, before anything is installed.
 */
import { spawn } from "node:child_process";
import { existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** Of sysexits.h: something needed can't be had. The whole table is in cli/output/exit-code.ts. */
const UNAVAILABLE = 69;

const project = dirname(dirname(fileURLToPath(import.meta.url)));
const pinnedNode = join(project, "node_modules/.bin/node");

/** Ends the program with what, why and the mend. */
function fail(message, mend) {
  process.stderr.write(`stagex: ${message}\n  to fix it: ${mend}\n`);
  process.exit(UNAVAILABLE);
}

/** Node runs no TypeScript below node_modules (nodejs.org/api/typescript.html, "Type stripping in dependencies"). */
function checkPlace() {
  if (!project.split(sep).includes("node_modules")) return;
  fail(
    `this is a copy below node_modules (${project}), where Node runs no TypeScript`,
    "clone the repository, and run npm start there; npm install FOLDER links a clone into a project of yours",
  );
}

function checkNode() {
  const major = Number.parseInt(process.versions.node, 10);
  if (process.platform === "win32") {
    fail("Windows itself is not supported, its Linux is", "wsl --install, then clone and start inside it");
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

/** Whether this entry of the lock file has to be installed on this machine. */
function isNeededHere(entry) {
  if (!entry.optional) return true;
  // Packages for one libc, or without os and cpu, are npm's to choose; the pinned Node is not among them.
  const isForOneMachine = entry.os !== undefined && entry.cpu !== undefined && entry.libc === undefined;
  return isForOneMachine && entry.os.includes(process.platform) && entry.cpu.includes(process.arch);
}

/**
 * Whether node_modules is what package-lock.json says. What is for development alone (`npm ci --omit=dev` leaves it out) the tests alone
 * need. npm writes its own record, node_modules/.package-lock.json, last, so an installation that was killed has none; a stamp of ours
 * would call the user's own `npm install` old.
 */
function isInstalled(folder, forTests) {
  const wanted = readJson(join(folder, "package-lock.json"));
  const present = readJson(join(folder, "node_modules/.package-lock.json"));
  if (wanted?.packages === undefined) {
    fail(
      `${join(folder, "package-lock.json")} is missing or damaged`,
      "git checkout -- package-lock.json; in a folder that npm pack has made, clone the repository instead: npm leaves that file out",
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
 * Takes the lock file, which holds the ids of its owner's processes, or says who has it. A lock whose owner is dead is put aside by
 * renaming: of two that try, one renames it and the other finds it gone.
 *
 * @returns undefined when the lock is taken, else the id of a living process that holds it
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
    // Another may have put the dead one's lock aside and taken it between our look and our rename: give it back.
    if (readJson(stale)?.[0] !== owners[0]) linkSync(stale, lock);
  } catch (error) {
    if (error.code !== "ENOENT" && error.code !== "EEXIST") throw error;
  }
  rmSync(stale, { force: true });
  return takeLock(lock);
}

/** An npm that outlives a killed installation still writes to node_modules, so it holds the lock too. */
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
  for (let told = false; ; told = true) {
    const owner = takeLock(lock);
    if (owner === undefined) break;
    if (!told) process.stderr.write(`process ${owner} is installing the dependencies; waiting for it …\n`);
    await sleep(500);
  }
  try {
    if (!isInstalled(project, forTests)) await runNpmCi((npm) => shareLock(lock, npm));
  } finally {
    rmSync(lock, { force: true });
  }
}

async function runNpmCi(onStart) {
  // `--ignore-scripts`: nothing here needs an install script, so none of 200 packages gets to run one.
  // `--include`: also with NODE_ENV=production, and where the user's npmrc omits optional packages.
  // `--loglevel`: that some packages don't like the Node of the moment is no matter, they will run on the pinned one.
  const args = ["ci", "--ignore-scripts", "--include=dev", "--include=optional", "--loglevel=error"];
  // Under npm, the same npm again; under pnpm, yarn or none, the one on PATH.
  const running = process.env.npm_execpath ?? "";
  const command = running.endsWith("npm-cli.js") ? [process.execPath, running, ...args] : ["npm", ...args];
  const started = Date.now();
  const elapsed = () => `${Math.round((Date.now() - started) / 1000)} s`;
  process.stderr.write("installing the dependencies, Node 24 among them (npm ci) …\n");
  // A terminal sees npm's own progress; a log gets a line now and then.
  const pulse = process.stderr.isTTY
    ? undefined
    : setInterval(() => process.stderr.write(`installing the dependencies … ${elapsed()}\n`), 15_000);
  // npm's output goes to stderr: stdout belongs to the command, which may be `stagex env`.
  const { error, code } = await run(command, { cwd: project, stdio: ["ignore", 2, 2] }, onStart);
  clearInterval(pulse);
  if (error !== undefined) fail(`npm could not be started: ${error.message}`, "apt-get install npm");
  if (code !== 0) {
    fail(`npm ci failed after ${elapsed()} (its reason is above)`, "npm ci --ignore-scripts");
  }
  if (!isInstalled(project, true)) {
    fail("npm ci succeeded, but node_modules is not what package-lock.json says", "npm ci --ignore-scripts");
  }
  process.stderr.write(`installed the dependencies in ${elapsed()}\n`);
}

/** Runs a command to its end; signals sent to this process reach it, and its end is this process's end. */
function run([file, ...args], options, onStart = () => {}) {
  return new Promise((resolve) => {
    const child = spawn(file, args, options);
    if (child.pid !== undefined) onStart(child.pid);
    const forward = (signal) => {
      // Ctrl-C in a terminal reaches the child by itself, and the engine takes a second one as "stop at once".
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

/** The Node that runs TypeScript: the pinned one, or the running one if it is new enough. */
function chooseNode() {
  if (existsSync(pinnedNode)) return pinnedNode;
  if (Number.parseInt(process.versions.node, 10) >= 24) return process.execPath;
  return fail(
    `there is no pinned Node 24 for ${process.platform} ${process.arch}, and this is Node ${process.versions.node}`,
    "install Node 24: https://nodejs.org/en/download",
  );
}

async function main() {
  checkPlace();
  checkNode();
  const args = process.argv.slice(2);
  await installDependencies(args[0] === "test");
  // `npm run stagex -- show` says `stagex show`; `npm start` says `start`.
  const command = args[0] === "stagex" ? args.slice(1) : args;
  const node = chooseNode();
  const argv = [node, join(project, "cli/stagex.mjs"), ...command];
  // Becoming the command (Node 22.15 and newer can) leaves nobody between it and its signals.
  if (process.execve !== undefined) {
    process.execve(node, argv, process.env);
  }
  const { error, code } = await run(argv, { stdio: "inherit" });
  if (error !== undefined) fail(`${node} could not be started: ${error.message}`, "npm ci --ignore-scripts");
  process.exitCode = code;
}

await main();
