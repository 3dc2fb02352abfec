import { z } from "zod";
import type { Context } from "../../../pipeline/context/context.ts";
import type { FunctionHandler } from "../protocol/handler.ts";

const nothing = z.strictObject({});

/**
 * `stagex:index:readiness`: has the provider started, and opens what every resource will need. Meant to be invoked before a program does
 * what takes it long, such as to read a tree, so that both are done at once; without it, the first resource waits for it.
 */
export function warmUpFunction(context: () => Context): FunctionHandler {
  return {
    token: "stagex:index:readiness",
    description: "Gets the provider ready ahead of the first resource. Nothing needs it; it saves time.",
    inputs: nothing,
    outputs: nothing,
    async call() {
      await context().store();
      return {};
    },
  };
}
