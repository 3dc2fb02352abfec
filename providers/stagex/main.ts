import packageJson from "../../package.json" with { type: "json" };
import { connectEngine } from "./engine.ts";
import { stagexProvider } from "./resources.ts";
import { ProviderServer } from "./server.ts";

/** How often to look whether the engine still lives, in milliseconds: killed, it can't say goodbye. */
const enginePoll = 1000;

const engine = connectEngine(process.argv[2] ?? "");
const server = new ProviderServer(stagexProvider(packageJson.version), engine);
const enginePid = process.ppid;
let closing = false;

async function close(code: number): Promise<void> {
  if (closing) return;
  closing = true;
  await server.close();
  process.exit(code);
}

// What no call could catch must still end the calls under way: the engine would wait for their answers forever.
function failed(thrown: unknown): void {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  console.error(error.stack);
  server.failAll(new TypeError(`a stray error: ${error.message}`, { cause: error }));
  setTimeout(() => close(1), 100);
}

process.on("uncaughtException", failed);
process.on("unhandledRejection", failed);
// Ctrl-C reaches the whole terminal; the engine answers it with Cancel, and with SIGTERM when it has waited enough.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => close(0));
setInterval(() => {
  if (process.ppid !== enginePid) close(0);
}, enginePoll).unref();

// The engine reads the port from the first line of stdout; nothing else is ever printed there.
console.log(await server.listen());
