import { Config, RunError } from "@pulumi/pulumi";
import { printableBlock } from "./lib/text/printable.ts";
import { usePathsInStackTraces } from "./pulumi-workarounds/source-positions.ts";
import { warmUpProvider } from "./pulumi-workarounds/warm-up.ts";

// One deployable each; `pulumi config set stagex:stack NAME` chooses. Only the chosen one is loaded.
const stacks: Readonly<Record<string, () => Promise<object>>> = {
  reproduce: async () => (await import("./stacks/reproduce.ts")).reproduce(),
  release: async () => (await import("./stacks/release.ts")).release(),
  fleet: async () => (await import("./stacks/fleet.ts")).deployFleet(),
};

usePathsInStackTraces();

const chosen = new Config("stagex").get("stack") ?? "reproduce";
const allowed = Object.keys(stacks).join(", ");

/** What is wrong with a tree or a setting is said without a stack; a defect of ours keeps its own. */
function withoutStack(error: unknown): unknown {
  const isDefect = [TypeError, ReferenceError, RangeError].some((kind) => error instanceof kind);
  if (!(error instanceof Error)) return error;
  const message = printableBlock(error.message);
  if (!isDefect) return new RunError(message, { cause: error });
  // The SDK shows it as it is.
  return Object.assign(error, { message, stack: printableBlock(error.stack ?? message) });
}

async function run(): Promise<object> {
  const stack = stacks[chosen];
  if (!stack) throw new RunError(`stagex:stack is ${JSON.stringify(chosen)}, allowed: ${allowed}`);
  // Before the provider is started with it: a provider that refuses its configuration ends the engine's run while the program is at work,
  // which then fails with a stack of gRPC's, and is not heard with its own message.
  (await import("./stacks/stack-config.ts")).readStackConfig();
  await warmUpProvider();
  return await stack();
}

export default await run().catch((error: unknown) => Promise.reject(withoutStack(error)));
