import { Config } from "@pulumi/pulumi";

// One deployable each; `pulumi config set stagex:stack NAME` chooses. Only the chosen one is loaded.
const stacks: Readonly<Record<string, () => Promise<Record<string, unknown>>>> = {
  reproduce: async () => (await import("./stacks/reproduce.ts")).reproduce(),
};

const chosen = new Config("stagex").get("stack") ?? "reproduce";
const stack = stacks[chosen];
if (!stack)
  throw new Error(`stagex:stack is ${JSON.stringify(chosen)}, allowed: ${Object.keys(stacks).join(", ")}`);

export default await stack();
