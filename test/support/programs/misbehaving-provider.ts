import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { AnyResourceHandler } from "../../../providers/stagex/protocol/handler.ts";
import { serveProvider } from "../../../providers/stagex/provider-process.ts";

const none = z.strictObject({});

/** Longer than a gRPC error can carry. */
const long = `begins\n${"on and on\n".repeat(20_000)}ends`;

/**
 * The real server with a handler of the test's own, which misbehaves in every way that the server
 * must survive.
 */
const stray: AnyResourceHandler = {
  token: "test:index:Stray",
  description: "Misbehaves.",
  inputs: none,
  outputs: none,
  check: () => [],
  diff: () => [],
  preview: async () => ({}),
  /** Never answers, while another error is thrown outside of any call. */
  create: () => {
    setTimeout(() => {
      throw new Error("nobody awaits this");
    }, 10);
    return new Promise(() => {});
  },
  /** Lasts until it is aborted. */
  update: async (_id, _inputs, { signal }) => {
    await sleep(60_000, undefined, { signal }).catch(() => signal.throwIfAborted());
    return {};
  },
  /** Lasts until it is aborted, and then throws Node's error rather than the signal's own. */
  read: async (_id, _state, { signal }) => {
    await sleep(60_000, undefined, { signal });
    return undefined;
  },
  delete: (id) => {
    if (id === "long") throw new Error(long);
    throw new TypeError("undefined is not a function");
  },
};

await serveProvider({
  name: "test",
  version: "0.0.0",
  handlers: [stray],
  functions: [],
  configure: () => {},
  close: async () => {
    if (process.env.STRAY_CLOSE) throw new Error("it can't be let go of");
  },
});
