import { Command } from "commander";
import { printRaw } from "../../lib/text/terminal.ts";
import { engineRequirements } from "../../tools/engine-environment.ts";
import { provideEngine } from "../engine/provide-engine.ts";

/**
 * Returns `export` lines for any POSIX shell. The folders go before those that the shell has in
 * PATH.
 */
export function formatShellExports(
  folders: readonly string[],
  variables: Readonly<Record<string, string>>,
): string {
  const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = Object.entries(variables).map(([name, value]) => `export ${name}=${quote(value)}\n`);
  return [`export PATH=${quote(folders.join(":"))}:"$PATH"\n`, ...lines].join("");
}

/** `stagex env`: prints what a plain `pulumi` needs to work on the same stacks as `npm start`. */
export function envCommand(): Command {
  return new Command("env")
    .description(
      "Prints shell exports with which a plain `pulumi` works on this project's stacks.\n" +
        "Sets up the engine first if there is none, and shows its progress on stderr.",
    )
    .action(async () => {
      const { folders, variables } = engineRequirements(await provideEngine(false));
      printRaw(formatShellExports(folders, variables));
    });
}
