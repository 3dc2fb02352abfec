import { join } from "node:path";
import { Command } from "commander";
import { pathsOf } from "../../lib/paths.ts";
import { printable } from "../../lib/text/printable.ts";
import { print } from "../../lib/text/terminal.ts";
import { provideRegistry, serveRegistry } from "../rehearsal/registry-server.ts";
import { rehearsalFolder } from "../rehearsal/rehearsal.ts";

/** `stagex registry`: serves what a rehearsal has published. */
export function registryCommand(): Command {
  return new Command("registry")
    .description(
      "Serves the registry to which npm start publishes in its rehearsal, on loopback until Ctrl-C.",
    )
    .action(async () => {
      const registry = await serveRegistry(
        join(rehearsalFolder(pathsOf()), "registry"),
        await provideRegistry(),
      );
      print(printable`serving ${registry.host}/stagex; Ctrl-C ends it`);
      await untilEnded();
      await registry.close();
    });
}

function untilEnded(): Promise<void> {
  return new Promise((resolve) => {
    // A promise alone does not keep the process alive.
    const waiting = setInterval(() => {}, 1 << 30);
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.once(signal, () => {
        clearInterval(waiting);
        resolve();
      });
    }
  });
}
