import { inspect } from "node:util";
import { sendDebugLinesTo } from "../../lib/debug-log.ts";
import { printable, printableBlock } from "../../lib/text/printable.ts";
import { print, printError } from "../../lib/text/terminal.ts";
import { onEngineEnd } from "../../pulumi-workarounds/engine-lifetime.ts";
import { connectEngine } from "./protocol/engine-log.ts";
import { type Provider, ProviderServer } from "./protocol/grpc-server.ts";

/**
 * Serves a provider as the process that the engine started: with the engine's address as its first argument, and the port
 * as the first and only line on stdout. It ends with the engine, however that ends.
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

  // What no call could catch must still end the calls under way: the engine would wait for their answers forever.
  function failed(thrown: unknown): void {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    printError(printableBlock(error.stack ?? error.message));
    server.failAll(new TypeError(`thrown outside of any call: ${error.message}`, { cause: error }));
    setTimeout(() => close(1), 100);
  }

  process.on("uncaughtException", failed);
  process.on("unhandledRejection", failed);
  // The engine ends its providers with Cancel and then SIGINT, and kills what still runs 5 seconds later. Ctrl-C in the
  // terminal reaches the engine alone: a provider has a process group of its own.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => close(0));
  onEngineEnd(() => close(0));

  print(printable`${await server.listen()}`);
}
