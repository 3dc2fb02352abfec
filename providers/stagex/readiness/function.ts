import { z } from "zod";
import type { FunctionHandler } from "../handler.ts";
import type { Workshop } from "../workshop.ts";

/** How many images: more than a release has, and few where a store has those of many. */
const readAhead = 1000;

const nothing = z.strictObject({});

/**
 * `stagex:index:readiness`: has the provider started, and opens what every resource will need. Meant to be invoked before a program does
 * what takes it long, such as to read a tree, so that both are done at once; without it, the first resource waits for it.
 */
export function readinessFunction(workshop: () => Workshop): FunctionHandler {
  return {
    token: "stagex:index:readiness",
    description: "Gets the provider ready ahead of the first resource. Nothing needs it; it saves time.",
    inputs: nothing,
    outputs: nothing,
    async call() {
      const store = await workshop().store();
      // Goes on after the answer. What is wrong with the store, whoever needs it is told.
      store.readAhead(readAhead).catch(() => undefined);
      return {};
    },
  };
}
