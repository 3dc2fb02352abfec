import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { release } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { inspectBuilder } from "../../buildkit/client/builder-facts.ts";
import { queryDaemon } from "../../buildkit/client/daemon-query.ts";
import { parseEndpoint } from "../../buildkit/client/endpoint.ts";
import { BuildWorkspace, buildctl, listen } from "../support/builders/build-workspace.ts";
import { describeReal } from "../support/real-tools.ts";

describeReal("an endpoint", () => {
  let bench: BuildWorkspace;

  beforeAll(async () => {
    bench = await BuildWorkspace.open();
  });

  afterAll(async () => {
    await bench?.close();
  });

  test("the facts of a daemon on this machine", async () => {
    const { endpoint } = await bench.daemon();
    const { facts } = await inspectBuilder(endpoint, { go: "go1.26.8" });
    expect(facts).toEqual({
      arch: { x64: "amd64", arm64: "arm64" }[process.arch as string],
      cpuVendor: expect.stringMatching(/^[A-Za-z0-9]+$/),
      cpuModel: expect.stringMatching(/^\S/),
      kernel: release(),
      buildkit: expect.stringMatching(/^v\d+\.\d+\.\d+/),
      go: "go1.26.8",
    });
    const cpuinfo = await readFile("/proc/cpuinfo", "utf8");
    if (process.arch === "x64") expect(cpuinfo).toContain(`: ${facts.cpuVendor}\n`);
  });

  test("where nobody listens, the error says what to look at", async () => {
    const endpoint = parseEndpoint({
      address: `unix://${join(bench.folder, "nobody.sock")}`,
      buildctl: buildctl(),
    });
    await expect(queryDaemon(endpoint)).rejects.toThrow(
      /nobody\.sock can't be used: .*Is buildkitd running, and may this user open/s,
    );
  });

  test("a server that never answers is given up", async () => {
    const server = createServer((socket) => socket.on("error", () => {}));
    const port = await listen(server);
    const endpoint = parseEndpoint({ address: `tcp://127.0.0.1:${port}`, buildctl: buildctl() });
    await expect(queryDaemon(endpoint)).rejects.toThrow(
      /tcp:\/\/127\.0\.0\.1:\d+ can't be used: .*Is buildkitd listening there/s,
    );
    server.close();
  });

  test("an abort ends the question", async () => {
    const server = createServer((socket) => socket.on("error", () => {}));
    const port = await listen(server);
    const abort = new AbortController();
    setTimeout(() => abort.abort(new Error("enough")), 300);
    const endpoint = parseEndpoint({ address: `tcp://127.0.0.1:${port}`, buildctl: buildctl() });
    await expect(queryDaemon(endpoint, abort.signal)).rejects.toThrow("enough");
    server.close();
  });
});
