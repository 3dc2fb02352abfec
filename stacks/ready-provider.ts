import { invoke } from "@pulumi/pulumi/runtime/index.js";

/**
 * Has the engine start the provider now, on another core, while the program goes on to read a tree. What is wrong with it, such as its
 * configuration, the first resource is told of, and says.
 */
export function readyProvider(): void {
  invoke("stagex:index:readiness", {}).catch(() => undefined);
}
