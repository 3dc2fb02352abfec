import { expect, test } from "vitest";
import { ProgressReader } from "../../../../buildkit/client/progress.ts";
import { TransferStats } from "../../../../buildkit/client/transfer-stats.ts";
import { digestOf } from "../../../../oci/digest.ts";

const at = (seconds: number) => new Date(1_700_000_000_000 + seconds * 1000).toISOString();
const [a, b, c] = [digestOf("a"), digestOf("b"), digestOf("c")];
const named = (...layers: (readonly [string, string])[]) =>
  new Map(layers.map(([name, digest]) => [name, new Set([digest])]));

test("counts the time of simultaneous transfers once, and pauses not at all", () => {
  const transfers = new TransferStats();
  transfers.addStatus({ id: a, current: 100, started: at(0), completed: at(4) });
  transfers.addStatus({ id: b, current: 10, started: at(1), completed: at(3) });
  transfers.addStatus({ id: c, current: 1, started: at(10), completed: at(12) });
  expect(transfers.totalOf(named(["core-a", a], ["core-b", b]))).toEqual({ bytes: 110, seconds: 4 });
  expect(transfers.totalOf(named(["core-a", a], ["core-c", c]))).toEqual({ bytes: 101, seconds: 6 });
  expect(transfers.totalOf(named(["core-d", digestOf("d")]))).toEqual({ bytes: 0, seconds: 0 });
});

test("counts the time to load a dependency's documents, for any platform", () => {
  const transfers = new TransferStats();
  transfers.addStep("[context stagex/core-a] load metadata for h.example/stagex/core-a@x", at(0), at(1));
  transfers.addStep(
    "[context stagex/core-a::linux/386] load metadata for docker.io/stagex/core-a@x",
    at(2),
    at(3),
  );
  transfers.addStep("[context stagex/core-b] load metadata for docker.io/stagex/core-b@x", at(5), at(9));
  transfers.addStep("[stage-0 1/2] RUN [context stagex/core-a] load metadata for ", at(10), at(90));
  expect(transfers.totalOf(named(["core-a", a]))).toEqual({ bytes: 0, seconds: 2 });
});

test("ignores incomplete layers and other statuses", () => {
  const transfers = new TransferStats();
  transfers.addStatus({ id: a, current: 5, started: at(0) });
  transfers.addStatus({ id: `extracting ${a}`, current: 0, started: at(0), completed: at(9) });
  transfers.addStatus({ id: `exporting manifest ${a}`, current: 0, started: at(0), completed: at(9) });
  expect(transfers.totalOf(named(["core-a", a]))).toEqual({ bytes: 0, seconds: 0 });
});

test("reads transfers from buildctl's output (v0.34.2)", () => {
  const progress = new ProgressReader(
    () => {},
    () => {},
  );
  const vertex = digestOf("vertex");
  const name = "[context stagex/core-a] load metadata for 127.0.0.1:5000/stagex/core-a@sha256:0";
  const times = { started: "2026-11-23T18:16:10.000000001Z", completed: "2026-11-23T18:16:10.5Z" };
  progress.readLine(JSON.stringify({ vertexes: [{ digest: digestOf("load"), name, ...times }] }));
  const status = { id: a, vertex, total: 7, current: 3, timestamp: at(0), started: "2026-11-23T18:16:11Z" };
  progress.readLine(JSON.stringify({ statuses: [status] }));
  progress.readLine(
    JSON.stringify({ statuses: [{ ...status, current: 7, completed: "2026-11-23T18:16:12.5Z" }] }),
  );
  expect(progress.transfers.totalOf(named(["core-a", a]))).toEqual({ bytes: 7, seconds: 2 });
});
