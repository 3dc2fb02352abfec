import { RunError } from "@pulumi/pulumi";
import type { StackName } from "./config/schema.ts";
import { printableBlock } from "./lib/text/printable.ts";
import { usePathsInStackTraces } from "./pulumi-workarounds/source-positions.ts";
import { warmUpProvider } from "./pulumi-workarounds/warm-up.ts";

/**
 * The stacks of this program. `pulumi config set stagex:stack NAME` chooses one, and only that is
 * loaded.
 */
const stacks: Readonly<Record<StackName, () => Promise<object>>> = {
  reproduce: async () => (await import("./stacks/reproduce.ts")).reproduce(),
  release: async () => (await import("./stacks/release.ts")).release(),
  fleet: async () => (await import("./stacks/fleet.ts")).deployFleet(),
};

usePathsInStackTraces();

/**
 * Reports user errors, such as in a tree or a setting, without a stack trace; internal errors keep
 * theirs.
 */
function withoutStack(error: unknown): unknown {
  const isInternal = [TypeError, ReferenceError, RangeError].some((kind) => error instanceof kind);
  if (!(error instanceof Error)) return error;
  const message = printableBlock(error.message);
  if (!isInternal) return new RunError(message, { cause: error });
  // The SDK prints it unescaped.
  return Object.assign(error, { message, stack: printableBlock(error.stack ?? message) });
}

async function run(): Promise<object> {
  // Checked before the provider starts with it. A provider that refuses its configuration ends the
  // engine's run while the program works: the program then fails with a stack trace of gRPC, and
  // its own message is lost.
  const { stack = "reproduce" } = (await import("./stacks/stack-config.ts")).readStackConfig();
  await warmUpProvider();
  return await stacks[stack]();
}

export default await run().catch((error: unknown) => Promise.reject(withoutStack(error)));
