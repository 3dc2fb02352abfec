import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { runConcurrently } from "../../../lib/run-concurrently.ts";

const never = new AbortController().signal;

/** Works until it is told to end, and then takes a while to fail in a way of its own. */
async function untilEnded(signal: AbortSignal, ended: () => void): Promise<never> {
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
  await sleep(20);
  ended();
  throw new Error("the connection was reset");
}

test("returns the results in the items' order", async () => {
  const work = async (item: number, _: AbortSignal, index: number) => {
    await sleep(20 - item);
    return item + index;
  };
  expect(await runConcurrently([1, 10], never, work)).toEqual([1, 11]);
  expect(await runConcurrently([], never, work)).toEqual([]);
});

test("throws the first error after aborting the others with it", async () => {
  const first = new Error("exit code 3");
  const ends: unknown[] = [];
  const failing = runConcurrently(["long", "short"], never, async (item, signal) => {
    if (item === "short") throw first;
    return await untilEnded(signal, () => ends.push(signal.reason));
  });
  await expect(failing).rejects.toBe(first);
  expect(ends).toEqual([first]);
});

test("throws the signal's reason if the signal is aborted first", async () => {
  const cancelled = new AbortController();
  let ended = 0;
  const working = runConcurrently([1, 2], cancelled.signal, (_, signal) => untilEnded(signal, () => ended++));
  cancelled.abort(new Error("cancelled"));
  await expect(working).rejects.toThrow("cancelled");
  expect(ended).toBe(2);
});
