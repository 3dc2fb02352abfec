import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Screen } from "../../../lib/text/terminal.ts";
import { formatElapsed, ProgressLines } from "../../../tools/progress-lines.ts";

class Recorder implements Screen {
  readonly isTTY: boolean;
  readonly columns = 40;
  text = "";
  constructor(isTTY: boolean) {
    this.isTTY = isTTY;
  }
  write(text: string): void {
    this.text += text;
  }
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Runs a step for so many seconds of the fake clock. */
async function lasting<T>(seconds: number, step: Promise<T>): Promise<T> {
  await vi.advanceTimersByTimeAsync(seconds * 1000);
  return step;
}

const pause = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

test("writes a line with the detail every 15 seconds to a log, and one at the end", async () => {
  const log = new Recorder(false);
  const step = new ProgressLines(5, log).step("building buildkitd v0.34.2", async (note) => {
    note("downloading a module");
    await pause(32);
    return "done";
  });
  expect(await lasting(32, step)).toBe("done");
  expect(log.text.split("\n")).toEqual([
    "[1/5] building buildkitd v0.34.2 …",
    "[1/5] building buildkitd v0.34.2 … 15 s, downloading a module",
    "[1/5] building buildkitd v0.34.2 … 30 s, downloading a module",
    "[1/5] building buildkitd v0.34.2: done in 32 s",
    "",
  ]);
});

test("redraws one line on a terminal, within its width", async () => {
  const terminal = new Recorder(true);
  await lasting(
    4,
    new ProgressLines(2, terminal).step("building a tool with quite a long name", () => pause(3.2)),
  );
  const lines = terminal.text.split("\r\x1b[2K").slice(1);
  expect(lines).toHaveLength(5);
  for (const line of lines.slice(0, -1)) expect(line.length).toBeLessThan(terminal.columns);
  expect(lines.at(-1)).toBe("[1/2] building a tool with quite a long name: done in 3 s\n");
});

test("counts the steps, reports a failed one and rejects with its error", async () => {
  const log = new Recorder(false);
  const display = new ProgressLines(2, log);
  await display.step("first", async () => {});
  await expect(display.step("second", async () => Promise.reject(new Error("no gcc")))).rejects.toThrow(
    "no gcc",
  );
  expect(log.text).toContain("[2/2] second: failed after 0 s\n");
});

test("formats long times in minutes", () => {
  expect(formatElapsed(119_000)).toBe("119 s");
  expect(formatElapsed(223_000)).toBe("3 min 43 s");
});
