import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { identityOf, isAlive, ownIdentity, type ProcessIdentity } from "../../lib/fs/pid-identity.ts";
import { printable } from "../../lib/text/printable.ts";
import { provideTools } from "../../tools/tool-resolver.ts";
import { CommandError, exitCode } from "../output/exit-code.ts";

const identity = z.object({ pid: z.number().int().positive(), started: z.number().int() });
const record = z.object({
  port: z.number().int().min(1).max(65_535),
  server: identity.optional(),
  /** The process that stops the server in the end. */
  owner: identity.optional(),
});
type Record = z.infer<typeof record>;

/** A registry on this machine's loopback, and this caller's use of it. */
export type RegistryServer = {
  /** `127.0.0.1:40123`. */
  readonly host: string;
  /** Stops it, unless another process owns it. */
  close(): Promise<void>;
};

/**
 * Provides the registry, and the client that publishes to it. Builds them, with progress, if they
 * are missing.
 */
export async function provideRegistry(): Promise<string> {
  const tools = await provideTools(["registry", "registry-client"]);
  const registry = tools.get("registry");
  if (registry === undefined) throw new Error("provideTools left the registry out");
  return registry.path;
}

/** The time that the registry has to answer after its start, in milliseconds. */
const startTimeout = 20_000;

/**
 * Serves the registry with the images in `folder` on loopback, on the same port as before if it is
 * free. If another living process serves it, that server is used. If its owner was killed, the
 * server is taken over.
 *
 * @param program the `registry` of github.com/distribution/distribution
 */
export async function serveRegistry(folder: string, program: string): Promise<RegistryServer> {
  await mkdir(folder, { recursive: true });
  const known = await readRecord(folder);
  if (known?.server && isAlive(known.server) && (await answers(known.port))) {
    const host = `127.0.0.1:${known.port}`;
    if (known.owner && isAlive(known.owner)) return { host, close: async () => {} };
    const server = known.server;
    await writeRecord(folder, { ...known, owner: ownIdentity() });
    return { host, close: async () => await stopServer(server, known.port) };
  }
  const { child, port } = await startOnFreePort(folder, program, known?.port);
  const server = child.pid === undefined ? undefined : identityOf(child.pid);
  if (server === undefined) throw notServing(folder, "it ended at once");
  await writeRecord(folder, { port, server, owner: ownIdentity() });
  return { host: `127.0.0.1:${port}`, close: async () => await stopServer(server, port) };
}

/** Starts the registry. If another process takes the free port first, tries another port. */
async function startOnFreePort(
  folder: string,
  program: string,
  wanted: number | undefined,
): Promise<{ child: ChildProcess; port: number }> {
  const port = await freePort(wanted);
  try {
    return { child: await startServer(folder, program, port), port };
  } catch (error) {
    if (await isFree(port)) throw error;
    return await startOnFreePort(folder, program, undefined);
  }
}

async function startServer(folder: string, program: string, port: number): Promise<ChildProcess> {
  const config = join(folder, "registry.json");
  // YAML reads JSON, and JSON needs no quoting of paths.
  const settings = {
    version: "0.1",
    log: { level: "warn", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(folder, "images") }, delete: { enabled: true } },
    http: { addr: `127.0.0.1:${port}` },
  };
  await writeFile(config, JSON.stringify(settings));
  const log = openSync(join(folder, "registry.log"), "w", 0o600);
  const child = spawn(program, ["serve", config], {
    // Ctrl-C is for the engine, which may still push: the server stops after it.
    detached: true,
    stdio: ["ignore", log, log],
    env: { PATH: process.env.PATH, HOME: folder, OTEL_TRACES_EXPORTER: "none" },
  });
  child.unref();
  const ended = once(child, "exit").then(
    ([code, signal]) => `it ended at once (${code ?? signal})`,
    (error: Error) => error.message,
  );
  const failure = await Promise.race([ended, untilAnswering(port)]);
  if (failure !== undefined) throw notServing(folder, failure);
  return child;
}

function notServing(folder: string, why: string): CommandError {
  return new CommandError(
    printable`the registry of the rehearsal does not serve: ${why}; its log is ${join(folder, "registry.log")}`,
    exitCode.unavailable,
  );
}

async function untilAnswering(port: number): Promise<string | undefined> {
  for (const start = Date.now(); Date.now() - start < startTimeout; await sleep(50)) {
    if (await answers(port)) return undefined;
  }
  return `no answer within ${startTimeout / 1000} s`;
}

async function answers(port: number): Promise<boolean> {
  const signal = AbortSignal.timeout(2_000);
  const answer = await fetch(`http://127.0.0.1:${port}/v2/`, { signal }).catch(() => undefined);
  return answer?.ok === true;
}

/** Returns the wanted port if it is free, otherwise one from the system. */
async function freePort(wanted = 0): Promise<number> {
  return (await listening(wanted)) ?? (await listening(0)) ?? Promise.reject(new Error("no port is free"));
}

async function isFree(port: number): Promise<boolean> {
  return (await listening(port)) !== undefined;
}

/** Listens on a port for a moment. @returns the port, or undefined if it is taken */
async function listening(wanted: number): Promise<number | undefined> {
  const server = createServer();
  try {
    server.listen(wanted, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : undefined;
  } catch {
    return undefined;
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

/**
 * Stops the server and waits until its port is free: a process whose main thread has ended may hold
 * it a moment longer.
 */
async function stopServer(server: ProcessIdentity, port: number): Promise<void> {
  if (isAlive(server)) process.kill(server.pid, "SIGTERM");
  const isGone = async () => !isAlive(server) && (await isFree(port));
  for (let tries = 0; tries < 100 && !(await isGone()); tries++) await sleep(50);
  if (isAlive(server)) process.kill(server.pid, "SIGKILL");
}

async function readRecord(folder: string): Promise<Record | undefined> {
  try {
    return record.parse(JSON.parse(await readFile(join(folder, "server.json"), "utf8")));
  } catch {
    return undefined;
  }
}

async function writeRecord(folder: string, value: Record): Promise<void> {
  await writeFile(join(folder, "server.json"), JSON.stringify(value));
}
