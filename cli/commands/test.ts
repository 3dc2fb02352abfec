import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Command } from "commander";
import { pathsOf } from "../../lib/paths.ts";
import { printable } from "../../lib/text/printable.ts";
import { print, printError } from "../../lib/text/terminal.ts";
import { provideTools, testTools } from "../../tools/tool-resolver.ts";
import { execProgram } from "../engine/exec.ts";
import { exitCode } from "../output/exit-code.ts";

/** The checks before the tests; each is a program of node_modules and its arguments. */
const checks = [
  { name: "format and lint (biome)", program: "@biomejs/biome/bin/biome", args: ["check", "."] },
  { name: "types (tsc)", program: "typescript/bin/tsc", args: ["--noEmit"] },
] as const;

/**
 * `stagex test`, which is `npm test`: sets up the real parts, checks format, lint and
 * types, and runs every test. With arguments it runs vitest alone: `npm test -- --project unit
 * distro`.
 */
export function testCommand(): Command {
  return new Command("test")
    .argument("[arguments...]", "arguments for vitest, which then runs alone")
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (args: string[]) => {
      process.chdir(pathsOf().project);
      if (args.length > 0) return await execProgram(process.execPath, [...vitest, ...args], process.env);
      await provideTools(testTools);
      const failed: string[] = [];
      for (const { name, program, args: checkArgs } of checks) {
        print(printable`\n${name}`);
        if ((await runNode([modulePath(program), ...checkArgs])) !== exitCode.ok) failed.push(name);
      }
      print(printable`\ntests (vitest)`);
      if ((await runNode(vitest)) !== exitCode.ok) failed.push("tests (vitest)");
      if (failed.length === 0) return;
      printError(printable`\nfailed: ${failed.join(", ")}`);
      process.exitCode = exitCode.no;
    });
}

const vitest = [
  modulePath("vitest/vitest.mjs"),
  "run",
  "--reporter=default",
  "--reporter=./test/support/closing-line.ts",
];

function modulePath(path: string): string {
  return join(pathsOf().project, "node_modules", path);
}

/**
 * Runs a program on this Node with this terminal, and returns its exit code. A signal to this
 * process ends it, too.
 */
async function runNode(args: readonly string[]): Promise<number | null> {
  const child = spawn(process.execPath, [...args], { stdio: "inherit" });
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  process.once("SIGTERM", forward);
  const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
  process.off("SIGTERM", forward);
  if (signal !== null) process.kill(process.pid, signal);
  return code;
}
