import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Endpoint } from "../../buildkit/client/endpoint.ts";
import { SolveError } from "../../buildkit/client/solve-error.ts";
import { BuildWorkspace, type Recipe, unpack } from "../support/builders/build-workspace.ts";
import { describeReal, realTool } from "../support/real-tools.ts";

describeReal("a RUN", () => {
  let bench: BuildWorkspace;
  let endpoint: Endpoint;

  beforeAll(async () => {
    bench = await BuildWorkspace.open();
    ({ endpoint } = await bench.daemon());
  });

  afterAll(async () => {
    await bench?.close();
  });

  /** A program that runs the real one under other circumstances: `change` is a line of a shell. */
  async function under(change: string, tool: "buildkitd" | "runc"): Promise<string> {
    const folder = join(bench.folder, `changed-${scripts++}`);
    await mkdir(folder);
    const path = join(folder, tool);
    await writeFile(path, `#!/bin/sh\n${change}\nexec ${realTool(tool)} "$@"\n`);
    await chmod(path, 0o755);
    return path;
  }
  let scripts = 0;

  const recipe = (runs: string, more: Partial<Recipe> = {}): Recipe => ({
    containerfile: `FROM scratch\nADD probe /probe\n${runs}`,
    files: { probe: bench.probe },
    ...more,
  });

  const failureOf = async (on: Endpoint, runs: string): Promise<SolveError> => {
    const failure = await bench.build(on, recipe(runs)).catch((error: unknown) => error);
    if (!(failure instanceof SolveError)) throw failure;
    return failure;
  };

  const files = ["/proc/self/environ", "/proc/self/limits", "/proc/self/cgroup", "/proc/self/oom_score_adj"];
  const copies = [...files, "/etc/resolv.conf", "/etc/hosts", "/proc/sys/kernel/hostname"].map((path) => {
    return `RUN ["/probe", "copy", "${path}", "/seen-${path.slice(path.lastIndexOf("/") + 1)}"]\n`;
  });

  test("sees nothing of the machine, nor of chance: daemons started otherwise give the same image", async () => {
    const seen = recipe(`ENV MINE=yes OTEL_TRACES_EXPORTER=none\n${copies.join("")}`);
    const first = await bench.build(endpoint, seen);
    const limits = "ulimit -S -s 4096; ulimit -S -n 4000; ulimit -S -f 4000000; umask 077";
    const other = await bench.daemon("otherwise", { buildkitd: await under(limits, "buildkitd") });
    const second = await bench.build(other.endpoint, seen);
    expect(second.index).toBe(first.index);
    const folder = join(bench.folder, "seen");
    await unpack(first, folder);
    const text = (name: string) => readFile(join(folder, `seen-${name}`), "utf8");
    const environment = (await text("environ")).split("\0").filter((entry) => entry !== "");
    expect(environment.sort()).toEqual([
      "HOME=/",
      "MINE=yes",
      "OTEL_TRACES_EXPORTER=none",
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]);
    expect(await text("resolv.conf")).toBe("nameserver 127.0.0.1\n");
    expect(await text("hostname")).toBe("buildkitsandbox\n");
    expect(await text("cgroup")).not.toMatch(/buildkit|stagex/);
    expect(await text("limits")).toMatch(/^Max core file size +0 +0 /m);
  });

  test("has no socket of the daemon's", async () => {
    const { step } = await failureOf(endpoint, 'RUN ["/probe", "print", "/dev/otel-grpc.sock"]\n');
    expect(step).toContain("otel-grpc.sock");
    const { log } = await bench.build(endpoint, recipe('RUN ["/probe", "print", "/proc/self/mountinfo"]\n'));
    expect(log).toMatch(/ \/etc\/resolv\.conf /);
    expect(log).not.toMatch(/otel|\/sys\/fs\/cgroup/);
  });

  test("is filtered in its system calls", async () => {
    const { log } = await bench.build(endpoint, recipe('RUN ["/probe", "print", "/proc/self/status"]\n'));
    expect(log).toMatch(/ Seccomp:\t2$/m);
  });

  test("that starts too many processes, or takes too much memory, fails, and the daemon goes on", async () => {
    const bounds = "export STAGEX_RUN_PROCESSES=32 STAGEX_RUN_MEMORY=67108864";
    const bounded = await bench.daemon("bounded", { runc: await under(bounds, "runc") });
    const bomb = await failureOf(bounded.endpoint, 'RUN ["/probe", "start", "100"]\n');
    expect(bomb.message).toMatch(/exit code 2: it could start no more processes.*"What a step may use"/);
    const hog = await failureOf(bounded.endpoint, 'RUN ["/probe", "take", "256"]\n');
    expect(hog.message).toMatch(/more memory than (it|a step) may have.*"What a step may use"/);
    expect([bomb.infrastructureFailure, hog.infrastructureFailure]).toEqual([undefined, undefined]);
    const modest = recipe('RUN ["/probe", "start", "8"]\nRUN ["/probe", "take", "16"]\n');
    expect((await bench.build(bounded.endpoint, modest)).manifests).toHaveLength(1);
  });

  test("finds nothing in a cache mount that another build has written, should one slip through", async () => {
    const mount = "--mount=type=cache,id=shared,target=/c";
    await bench.build(endpoint, recipe(`RUN ${mount} ["/probe", "copy", "/probe", "/c/x"]\n`));
    const { step } = await failureOf(endpoint, `RUN ${mount} ["/probe", "copy", "/c/x", "/got"]\n`);
    expect(step).toContain("/c/x");
  });

  test.each([
    ["privileges", "--security=insecure", /security\.insecure is not allowed/],
    ["a secret that it requires", "--mount=type=secret,id=s,required=true", /secret s: not found/],
  ])("does not get %s", async (_, flag, words) => {
    const failed = bench.build(endpoint, recipe(`RUN ${flag} ["/probe", "print", "/proc/self/status"]\n`));
    await expect(failed).rejects.toThrow(words);
  });
});

describeReal("a denied source", () => {
  test("is the error, and not the steps that were cancelled for it, nor the builder", async () => {
    await using closing = new AsyncDisposableStack();
    const bench = await BuildWorkspace.open();
    closing.defer(() => bench.close());
    const { endpoint } = await bench.daemon();
    const dependency = await bench.build(endpoint, {
      containerfile: "FROM scratch\nCOPY Containerfile /f\n",
    });
    await bench.keep(dependency);
    const containerfile = `FROM example@sha256:${"0".repeat(64)}\nCOPY --from=stagex/core-a . /\n`;
    for (let round = 0; round < 5; round++) {
      const failure = await bench
        .build(endpoint, { containerfile, dependencies: { "core-a": dependency.index } })
        .catch((error: unknown) => error);
      if (!(failure instanceof SolveError)) throw failure;
      expect(failure.message).toMatch(/denied by policy/);
      expect(failure.message).toContain(failure.log);
      expect(failure.infrastructureFailure).toBeUndefined();
    }
  });
});
