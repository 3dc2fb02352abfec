import { setImmediate as turn } from "node:timers/promises";
import { invoke } from "@pulumi/pulumi/runtime/index.js";

/**
 * Makes the engine start the provider now, on another core, while the program loads its modules and
 * reads a tree. Resolves once the engine has been asked. The first resource reports what is wrong
 * with the provider, such as its configuration.
 *
 * The engine starts a provider for the first resource that needs it, not with the program.
 *
 * Upstream: https://github.com/pulumi/pulumi/pull/12657 made it so; an option to start providers
 * early is not filed.
 *
 * Remove when the engine starts a project's own providers with its program, together with
 * providers/stagex/functions/warm-up.ts.
 */
export async function warmUpProvider(): Promise<void> {
  invoke("stagex:index:readiness", {}).catch(() => undefined);
  await turn();
}
