import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { formatProgress, type ProgressEvent, ProgressReader } from "../../../../buildkit/client/progress.ts";

/** Reads stderr of buildctl v0.34.2 in real builds. */
function recorded(name: string): string[] {
  const file = new URL(`../../../fixtures/progress/${name}.stderr`, import.meta.url);
  return readFileSync(file, "utf8").trimEnd().split("\n");
}

function replay(lines: readonly string[]) {
  const events: ProgressEvent[] = [];
  const log: string[] = [];
  const progress = new ProgressReader(
    (event) => events.push(event),
    (line) => log.push(line),
  );
  for (const line of lines) progress.readLine(line);
  progress.end();
  return { events, log, progress };
}

const steps = (events: readonly ProgressEvent[]) =>
  events
    .filter(({ step }) => /\d+\/\d+$/.test(step))
    .map(({ step, name, status }) => `[${step}] ${name}: ${status}`);

test("reports each step of a build for two platforms, and a common step once", () => {
  const { events, progress } = replay(recorded("success"));
  const seen = steps(events);
  const count = (line: string) => seen.filter((each) => each === line).length;
  for (const [step, times] of [
    ["[build 1/3] ADD probe /probe", 1],
    ['[build 2/3] RUN ["/probe", "write", "/out", "hello"]', 2],
    ['[build 3/3] RUN ["/probe", "print", "/out"]', 2],
    ["[package 1/1] COPY --from=build /out /out", 1],
  ] as const) {
    expect([step, count(`${step}: started`), count(`${step}: done`)]).toEqual([step, times, times]);
  }
  expect(progress.failedStep()).toBeUndefined();
  expect(progress.messages).toEqual([]);
  expect(events.every(({ seconds }) => seconds >= 0)).toBe(true);
  expect(events.at(-1)).toMatchObject({
    step: "exporting",
    name: "exporting to oci image format",
    status: "done",
  });
});

test("writes BuildKit's plain log", () => {
  const { log } = replay(recorded("success"));
  const header = log.findIndex((line) => /^#\d+ \[build 3\/3\] RUN/.test(line));
  const number = log[header]?.split(" ")[0];
  const ofStep = log.filter((line) => line.startsWith(`${number} `));
  expect(ofStep).toHaveLength(3);
  expect(ofStep[1]).toMatch(/^#\d+ DONE \d\.\ds$/);
  // It has no line end, so that it is complete only at the very end.
  expect(ofStep[2]).toMatch(/^#\d+ \d\.\d{3} hello$/);
});

test("names the failed step, not one that was cancelled for it", () => {
  const { progress, events } = replay(recorded("failure"));
  const failed = progress.failedStep();
  expect(failed).toMatchObject({ step: "build 2/2", name: 'RUN ["/probe", "fail", "7"]' });
  expect(failed?.error).toMatch(/exit code: 7$/);
  expect(failed?.tail).toHaveLength(20);
  expect(failed?.tail[0]).toBe("line 22");
  expect(failed?.tail.slice(-2)).toEqual(["line 40", "no such thing"]);
  expect(steps(events)).toContain('[slow 2/2] RUN ["/probe", "sleep", "60"]: error');
  expect(progress.messages.at(-1)).toMatch(/^error: failed to solve: process/);
});

test("names no step where all were cancelled for another failure", () => {
  const denied = 'error: failed to solve: example: source "docker-image://example" denied by policy';
  const { progress } = replay([
    status({ vertexes: [{ ...started, completed: at(1), error: "load metadata: context canceled" }] }),
    denied,
  ]);
  expect(progress.failedStep()).toBeUndefined();
  expect(progress.messages).toEqual([denied]);
});

test("names a failed step whose own command contains the words of a cancellation", () => {
  const error = 'process "echo context canceled; false" did not complete successfully: exit code: 1';
  const { progress } = replay([status({ vertexes: [{ ...started, completed: at(1), error }] })]);
  expect(progress.failedStep()?.error).toBe(error);
});

test("keeps a lint violation among the messages", () => {
  const { progress } = replay(recorded("lint"));
  expect(progress.messages[0]).toMatch(/ConsistentInstructionCasing/);
  expect(progress.failedStep()).toBeUndefined();
});

const digest = "sha256:1";
const at = (second: number) => new Date(second * 1000).toISOString();
const status = (value: object) => JSON.stringify(value);
const started = { digest, name: "[build 1/1] RUN\n  make", started: at(0) };
const output = (second: number, text: string, stream = 1) => ({
  vertex: digest,
  stream,
  data: Buffer.from(text).toString("base64"),
  timestamp: at(second),
});

test("joins the pieces of lines of two streams, also after their step's end", () => {
  const { log } = replay([
    status({ vertexes: [started] }),
    status({ logs: [output(1, "on"), output(1, "e\ntw"), output(2, "err", 2)] }),
    status({
      logs: [output(3, "or\n", 2), output(4, "o\r\nthr")],
      vertexes: [{ ...started, completed: at(5) }],
    }),
    status({ logs: [output(4, "ee\nno end")] }),
  ]);
  expect(log).toEqual([
    "#1 [build 1/1] RUN\n  make",
    "#1 1.000 one",
    "#1 3.000 error",
    "#1 4.000 two",
    "#1 DONE 5.0s",
    "#1 4.000 three",
    "#1 5.000 no end",
  ]);
});

test("cuts a line that never ends", () => {
  const block = "x".repeat(40_000);
  const { log } = replay([
    status({ vertexes: [started] }),
    status({ logs: [output(1, block), output(2, block)] }),
  ]);
  expect(log.at(-1)).toBe(`#1 2.000 ${block}${block}`);
});

test("keeps a line that is not a status unchanged", () => {
  const { progress, log } = replay(["{ not json", '{"vertexes": "no"}', "error: something"]);
  expect(progress.messages).toEqual(["{ not json", '{"vertexes": "no"}', "error: something"]);
  expect(log).toEqual(progress.messages);
});

test("shortens a line to its width and keeps its end", () => {
  const event: ProgressEvent = { step: "build 5/12", name: "RUN make", status: "done", seconds: 12.3 };
  expect(formatProgress(event)).toBe("[build 5/12] RUN make (12 s)");
  expect(formatProgress({ ...event, status: "started", seconds: 0 })).toBe("[build 5/12] RUN make");
  expect(formatProgress({ ...event, status: "cached", seconds: 0 })).toBe("[build 5/12] RUN make (cached)");
  const long = formatProgress({ ...event, name: "RUN x".repeat(50) }, 40);
  expect(long).toHaveLength(40);
  expect(long).toMatch(/^\[build 5\/12\] RUN x.*… \(12 s\)$/);
});

test("puts an instruction of several lines on one line", () => {
  const { events } = replay([status({ vertexes: [started] })]);
  expect(events).toEqual([{ step: "build 1/1", name: "RUN make", status: "started", seconds: 0 }]);
});

test("removes control characters of a step's output from its error, and keeps them in the log", () => {
  const hostile = "10 %\r20 %\r\u001b]0;owned\u0007\u001b[2J\u001b[31mred\u001b[0m\tand\b \u009bplain";
  const { log, progress } = replay([
    status({ vertexes: [{ ...started, name: "[build 1/1] RUN \u001b[2Jmake" }] }),
    status({ logs: [output(1, `${hostile}\n`)] }),
    status({ vertexes: [{ ...started, completed: at(2), error: "exit code: 1" }] }),
  ]);
  expect(progress.failedStep()).toMatchObject({
    name: "RUN make",
    tail: [expect.stringMatching(/^red\tand /)],
  });
  expect(progress.failedStep()?.tail[0]).not.toMatch(/[^\P{Cc}\t]/u);
  expect(log[1]).toBe(`#1 1.000 ${hostile}`);
});

const gibibyte = 2 ** 30;
const report = (peak: number, killed = 0) => `stagex-memory: peak=${peak} killed=${killed}\n`;

test("takes the runtime's report out of the output, and adds the memory of simultaneous steps", () => {
  const step = (digest: string, start: number, end: number) => ({
    ...{ digest, name: `[${digest} 1/1] RUN make`, started: at(start), completed: at(end) },
  });
  const said = (vertex: string, text: string) => ({ ...output(1, text), vertex, stream: 2 });
  const { log, progress } = replay([
    status({
      vertexes: ["a", "b", "c"].map((digest) => ({
        ...step(digest, 0, 0),
        started: at(0),
        completed: undefined,
      })),
    }),
    status({ vertexes: [step("a", 0, 5)], logs: [said("a", `no end of line${report(3 * gibibyte)}`)] }),
    status({ vertexes: [step("b", 0, 9)], logs: [said("b", report(2 * gibibyte))] }),
    status({ vertexes: [step("c", 6, 9)], logs: [said("c", report(gibibyte / 2))] }),
  ]);
  expect(progress.peakMemory()).toBe(5 * gibibyte);
  expect(log.join("\n")).toContain("no end of line\n");
  expect(log.join("\n")).not.toContain("stagex-memory");
});

test("marks a failed step of which the kernel killed a process", () => {
  const failing = (logs: object[], error = "exit code: 2") =>
    replay([
      status({ vertexes: [started] }),
      status({ logs }),
      status({ vertexes: [{ ...started, completed: at(2), error: `process did not complete: ${error}` }] }),
    ]).progress.failedStep();
  expect(failing([output(1, report(gibibyte, 1))])).toMatchObject({ wasKilled: true, tail: [] });
  expect(failing([output(1, report(gibibyte))])?.wasKilled).toBe(false);
  expect(failing([], "cannot allocate memory")?.wasKilled).toBe(true);
  expect(failing([output(1, "cc1: out of memory\n")])?.wasKilled).toBe(false);
});

test("returns no memory where none was measured", () => {
  const { progress } = replay([status({ vertexes: [{ ...started, completed: at(2) }] })]);
  expect(progress.peakMemory()).toBeUndefined();
});

test("bounds the messages of a frontend that prints for ever, and keeps its error", () => {
  const words = Array.from({ length: 5000 }, (_, index) => `line ${index} ${"x".repeat(100_000)}`);
  const { progress } = replay(["first", ...words, "error: it failed"]);
  expect(progress.messages.length).toBeLessThan(500);
  expect(progress.messages.every(({ length }) => length < 100_000)).toBe(true);
  expect([progress.messages[0], progress.messages.at(-1)]).toEqual(["first", "error: it failed"]);
});
