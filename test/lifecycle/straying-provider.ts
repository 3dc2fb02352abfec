import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { AnyHandler } from "../../providers/stagex/handler.ts";
import { serve } from "../../providers/stagex/serve.ts";

const none = z.strictObject({});

/** A resource that misbehaves in every way that the server must bear: the real server, with a handler of the test's own. */
const stray: AnyHandler = {
  token: "test:index:Stray",
  description: "Misbehaves.",
  plan: none,
  inputs: none,
  outputs: none,
  check: () => [],
  diff: () => [],
  preview: async () => ({}),
  /** Never answers, while something else throws where nobody looks. */
  create: () => {
    setTimeout(() => {
      throw new Error("nobody awaits this");
    }, 10);
    return new Promise(() => {});
  },
  /** Lasts until it is told to end. */
  update: async (_id, _inputs, { signal }) => {
    await sleep(60_000, undefined, { signal }).catch(() => signal.throwIfAborted());
    return {};
  },
  read: async () => undefined,
  delete: () => {
    throw new TypeError("undefined is not a function");
  },
};

await serve({
  name: "test",
  version: "0.0.0",
  handlers: [stray],
  functions: [],
  configure: () => {},
  close: async () => {},
});
