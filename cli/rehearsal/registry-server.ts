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
  /** The process that ends the server when it is done. */
  owner: identity.optional(),
});
type Record = z.infer<typeof record>;

/** A registry on this machine's loopback, and this caller's use of it. */
export type RegistryServer = {
  /** `127.0.0.1:40123`. */
  readonly host: string;
  /** Ends it, unless another process serves it. */
  close(): Promise<void>;
};

/** The registry, and the client that publishes to it; built, with what is done shown, where there are none. */
export async function provideRegistry(): Promise<string> {
  const tools = await provideTools(["registry", "registry-client"]);
  const registry = tools.get("registry");
  if (registry === undefined) throw new Error("provideTools left the registry out");
  return registry.path;
}

/** How long the registry may take to answer, in milliseconds. */
const startTimeout = 20_000;

/**
 * Serves the registry whose images are in `folder` on loopback, on the same port as the last time where that is free. One that
 * another living process serves already is used as it is; one whose owner was killed is taken over.
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

/** Between the question for a free port and its use another process may take it: then another is asked for. */
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
    // Ctrl-C is for the engine, which may still push: the server ends after it.
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

/** The wanted port if nobody has it, else one that the system gives. */
async function freePort(wanted = 0): Promise<number> {
  return (await listening(wanted)) ?? (await listening(0)) ?? Promise.reject(new Error("no port is free"));
}

async function isFree(port: number): Promise<boolean> {
  return (await listening(port)) !== undefined;
}

/** Listens there for a moment; the port, or undefined where somebody else does. */
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

/** Once it returns the port is free: a process whose first thread has ended may hold it for a moment more. */
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
