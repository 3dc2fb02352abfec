import { inspect } from "node:util";
import { sendDebugLinesTo } from "../../lib/debug-log.ts";
import { printable, printableBlock } from "../../lib/text/printable.ts";
import { print, printError } from "../../lib/text/terminal.ts";
import { onEngineEnd } from "../../pulumi-workarounds/engine-lifetime.ts";
import { connectEngine } from "./protocol/engine-log.ts";
import { type Provider, ProviderServer } from "./protocol/grpc-server.ts";

/**
 * Serves a provider in a process that the engine started: with the engine's address as its first
 * argument, and its port as the only line on stdout. The process ends with the engine, however that
 * ends.
 */
export async function serveProvider(provider: Provider): Promise<void> {
  const [, , address = ""] = process.argv;
  const engine = connectEngine(address);
  // At the level "debug" the engine would show them with `--debug` only.
  if (address !== "") sendDebugLinesTo((line) => engine.log("info", line));
  const server = new ProviderServer(provider, engine);
  let closing = false;

  async function close(code: number): Promise<void> {
    if (closing) return;
    closing = true;
    const end = await server.close().then(
      () => code,
      (error: unknown) => {
        printError(printableBlock(inspect(error)));
        return 1;
      },
    );
    process.exit(end);
  }

  // An error outside of any call ends all calls in progress: otherwise the engine would wait for
  // them forever.
  function failed(thrown: unknown): void {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    printError(printableBlock(error.stack ?? error.message));
    server.failAll(new TypeError(`thrown outside of any call: ${error.message}`, { cause: error }));
    setTimeout(() => close(1), 100);
  }

  process.on("uncaughtException", failed);
  process.on("unhandledRejection", failed);
  // The engine ends its providers with Cancel and then SIGINT, and kills them 5 seconds later.
  // Ctrl-C in the terminal reaches only the engine: a provider has its own process group.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => close(0));
  onEngineEnd(() => close(0));

  print(printable`${await server.listen()}`);
}
