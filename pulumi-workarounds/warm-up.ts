import { setImmediate as turn } from "node:timers/promises";
import { invoke } from "@pulumi/pulumi/runtime/index.js";

/**
 * Has the engine start the provider now, on another core, while the program goes on to load its modules and to read a tree; resolves as
 * soon as the engine has been asked. What is wrong with it, such as its configuration, the first resource is told of, and says.
 */
export async function warmUpProvider(): Promise<void> {
  invoke("stagex:index:readiness", {}).catch(() => undefined);
  await turn();
}
