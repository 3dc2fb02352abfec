import { z } from "zod";
import type { Context } from "../../../pipeline/context/context.ts";
import type { FunctionHandler } from "../protocol/handler.ts";

const nothing = z.strictObject({});

/**
 * Handles `stagex:index:readiness`: starts the provider, and opens what every resource needs.
 * Programs invoke it before long work, such as reading a tree, so that both happen at once. Without
 * it, the first resource waits.
 */
export function warmUpFunction(context: () => Context): FunctionHandler {
  return {
    token: "stagex:index:readiness",
    description: "Prepares the provider before the first resource. It is optional, and saves time.",
    inputs: nothing,
    outputs: nothing,
    async call() {
      await context().store();
      return {};
    },
  };
}
