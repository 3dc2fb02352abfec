import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Endpoint } from "../../buildkit/client/endpoint.ts";
import { SolveError } from "../../buildkit/client/solve-error.ts";
import { digestOf } from "../../oci/digest.ts";
import { BuildWorkspace, listen, readBlob, unpack } from "../support/builders/build-workspace.ts";
import { describeReal } from "../support/real-tools.ts";

describeReal("a solve", () => {
  let bench: BuildWorkspace;
  let endpoint: Endpoint;

  beforeAll(async () => {
    bench = await BuildWorkspace.open();
    ({ endpoint } = await bench.daemon());
  });

  afterAll(async () => {
    await bench?.close();
  });

  const hello = {
    containerfile: `FROM scratch AS build
ADD probe /probe
ADD fetch/text /context-text
COPY --from=fetch text /named-text
RUN ["/probe", "write", "/out", "hello"]
FROM scratch AS package
COPY --from=build /out /context-text /named-text /
`,
    sources: { text: "a source\n" },
  };

  test("two fresh daemons give the same digests", async () => {
    const recipe = { ...hello, files: { probe: bench.probe } };
    const first = await bench.build(endpoint, recipe);
    const other = await bench.daemon("second-daemon");
    const second = await bench.build(other.endpoint, recipe);
    expect(second.index).toBe(first.index);
    expect(second.manifests).toEqual(first.manifests);
    expect(first.manifests.map(({ platform }) => platform)).toEqual(["linux/amd64"]);
    expect(second.events).toContainEqual(expect.objectContaining({ step: "build 4/4", status: "done" }));
  });

  test("a daemon's cache is used, unless the image is asked for anew; the digest is the same", async () => {
    const recipe = { ...hello, files: { probe: bench.probe }, version: "3" };
    const first = await bench.build(endpoint, recipe);
    const cached = await bench.build(endpoint, recipe);
    const anew = await bench.build(endpoint, { ...recipe, noCache: true });
    const run = (status: string) => expect.objectContaining({ step: "build 4/4", status });
    expect(cached.events).toContainEqual(run("cached"));
    expect(anew.events).not.toContainEqual(expect.objectContaining({ status: "cached" }));
    expect(anew.events).toContainEqual(run("done"));
    expect([cached.index, anew.index]).toEqual([first.index, first.index]);
  });

  test("the image holds what was built, and its manifest StageX's annotations", async () => {
    const built = await bench
      .build(endpoint, { ...hello, files: { probe: bench.probe }, version: '1,"2"' })
      .catch(() => undefined);
    expect(built).toBeUndefined();
    const image = await bench.build(endpoint, { ...hello, files: { probe: bench.probe }, version: "2.1" });
    const folder = join(bench.folder, "unpacked");
    await unpack(image, folder);
    expect(await readFile(join(folder, "out"), "utf8")).toBe("hello");
    expect(await readFile(join(folder, "context-text"), "utf8")).toBe("a source\n");
    expect(await readFile(join(folder, "named-text"), "utf8")).toBe("a source\n");
    const [manifest] = image.manifests;
    expect(manifest && (await readBlob(image.layout, manifest.digest))).toMatchObject({
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      annotations: {
        "containerd.io/distribution.source.docker.io": "stagex/core-test",
        "org.opencontainers.image.created": "1970-01-01T00:00:01Z",
        "org.opencontainers.image.version": "2.1",
      },
    });
    expect(await bench.leftovers()).toEqual([]);
  });

  test("an image without RUN is built for a platform that this machine can't run", async () => {
    const image = await bench.build(endpoint, {
      containerfile: "FROM scratch\nARG TARGETARCH\nCOPY file-$TARGETARCH /file\n",
      files: { "file-amd64": "for amd64", "file-arm64": "for arm64" },
      platforms: ["linux/amd64", "linux/arm64"],
    });
    expect(image.manifests.map(({ platform }) => platform)).toEqual(["linux/amd64", "linux/arm64"]);
  });

  test("a dependency is found by its manifest's and by its index's digest, with the same result", async () => {
    const dependency = await bench.build(endpoint, { ...hello, files: { probe: bench.probe } });
    await bench.keep(dependency);
    const [manifest] = dependency.manifests;
    if (manifest === undefined) throw new Error("the dependency has no manifest");
    const recipe = (digest: typeof dependency.index) => ({
      containerfile: "FROM stagex/core-hello\nCOPY --from=stagex/core-hello /out /copied\n",
      dependencies: { "core-hello": digest },
    });
    const byManifest = await bench.build(endpoint, recipe(manifest.digest));
    const byIndex = await bench.build(endpoint, recipe(dependency.index));
    expect(byIndex.index).toBe(byManifest.index);
    const folder = join(bench.folder, "unpacked-dependent");
    await unpack(byIndex, folder);
    expect(await readFile(join(folder, "copied"), "utf8")).toBe("hello");
    expect(await readFile(join(folder, "out"), "utf8")).toBe("hello");
  });

  test("an image for linux/386 alone serves one for linux/amd64", async () => {
    const dependency = await bench.build(endpoint, {
      ...hello,
      files: { probe: bench.probe },
      platforms: ["linux/386"],
    });
    await bench.keep(dependency);
    for (const digest of [dependency.index, ...dependency.manifests.map((manifest) => manifest.digest)]) {
      const image = await bench.build(endpoint, {
        containerfile: `FROM --platform=linux/386 stagex/bootstrap-stage AS build
FROM scratch AS package
COPY --from=build /out /from-stage
COPY --from=stagex/bootstrap-stage /out /from-image
`,
        dependencies: { "bootstrap-stage": digest },
      });
      expect(image.manifests.map(({ platform }) => platform)).toEqual(["linux/amd64"]);
    }
  });

  test("a dependency that the store lacks is named", async () => {
    await expect(
      bench.build(endpoint, {
        containerfile: "FROM stagex/core-gone\n",
        dependencies: { "core-gone": digestOf("nothing") },
      }),
    ).rejects.toThrow(/the dependency core-gone \(sha256:[0-9a-f]{64}\) can't be read from the store/);
  });

  test("build arguments arrive as they are, whatever is in them", async () => {
    const buildArgs = { A: "one,two=three", B: 'with "quotes" and  spaces', C: "" };
    const image = await bench.build(endpoint, {
      containerfile:
        'FROM scratch AS build\nARG A\nARG B\nARG C=unset\nADD probe /probe\nENV TEXT="<$A|$B|$C>"\nRUN ["/probe", "print", "/proc/self/environ"]\nFROM build\n',
      files: { probe: bench.probe },
      buildArgs,
    });
    expect(image.log).toContain(`TEXT=<${buildArgs.A}|${buildArgs.B}|${buildArgs.C}>`);
  });

  test("a target that is not the last stage is built", async () => {
    const image = await bench.build(endpoint, {
      containerfile: "FROM scratch AS package-one\nCOPY one /\nFROM scratch AS package-two\nCOPY two /\n",
      files: { one: "1", two: "2" },
      target: "package-one",
    });
    const folder = join(bench.folder, "unpacked-target");
    await unpack(image, folder);
    expect(await readFile(join(folder, "one"), "utf8")).toBe("1");
  });

  test("a plain RUN has no network but an unconnected loopback", async () => {
    const { log } = await bench.build(endpoint, {
      containerfile: 'FROM scratch\nADD probe /probe\nRUN ["/probe", "print", "/proc/net/dev"]\n',
      files: { probe: bench.probe },
    });
    const interfaces = [...log.matchAll(/^#\d+ [\d.]+ +([\w.-]+):/gm)].map(([, name]) => name);
    expect(interfaces).toEqual(["lo"]);
    expect(await readFile("/proc/net/dev", "utf8")).toMatch(/^ *(?!lo:)\w+:/m);
  });

  test("a RUN that asks for the host's network does not get it", async () => {
    const failed = bench.build(endpoint, {
      containerfile:
        'FROM scratch\nADD probe /probe\nRUN --network=host ["/probe", "print", "/proc/net/dev"]\n',
      files: { probe: bench.probe },
    });
    await expect(failed).rejects.toThrow(/network\.host/);
  });

  test.each([
    ["an image", "FROM docker.io/library/alpine\n"],
    ["a git repository", "FROM scratch\nADD https://127.0.0.1:9/a.git /a\n"],
    ["another image's stage", "FROM scratch\nCOPY --from=busybox:latest / /\n"],
  ])("%s from elsewhere is refused", async (_, containerfile) => {
    await expect(bench.build(endpoint, { containerfile })).rejects.toThrow(/denied by policy/);
  });

  test("a frontend from elsewhere is refused", async () => {
    const containerfile = "# syntax=127.0.0.1:9/frontend:1\nFROM scratch\nCOPY Containerfile /\n";
    await expect(bench.build(endpoint, { containerfile })).rejects.toThrow(
      /invalid frontend: gateway\.v0.*remove it/,
    );
  });

  test("a URL is refused without being asked for", async () => {
    let requests = 0;
    const server = createServer((_, response) => {
      requests++;
      response.end("x");
    });
    const port = await listen(server);
    const failed = bench.build(endpoint, {
      containerfile: `FROM scratch\nADD http://127.0.0.1:${port}/file /file\n`,
    });
    await expect(failed).rejects.toThrow(/denied by policy/);
    server.close();
    expect(requests).toBe(0);
  });

  test("a failing step is named, with its exit code, the end of its output and the log", async () => {
    const error = await bench
      .build(endpoint, {
        containerfile:
          'FROM scratch AS build\nADD probe /probe\nRUN ["/probe", "fail", "7"]\nFROM scratch\nCOPY --from=build / /\n',
        files: { probe: bench.probe },
      })
      .catch((failure: unknown) => failure);
    if (!(error instanceof SolveError)) throw error;
    expect(error.step).toBe('[build 2/2] RUN ["/probe", "fail", "7"]');
    expect(error.exitCode).toBe(7);
    expect(error.tail).toHaveLength(20);
    expect(error.tail.at(-1)).toContain("no such thing");
    expect(error.message).toContain(error.log);
    const log = await readFile(error.log, "utf8");
    expect(log).toMatch(/^#\d+ \d\.\d{3} line 1$/m);
    expect(await bench.leftovers()).toEqual([]);
  });

  test("a Containerfile that can't be read is an error of its own", async () => {
    const error = await bench
      .build(endpoint, { containerfile: "FROM scratch\nCOPPY a b\n" })
      .catch((e: unknown) => e);
    expect(error).toBeInstanceOf(SolveError);
    expect((error as SolveError).message).toMatch(/unknown instruction: COPPY/);
  });

  test("a lint warning fails the build, as upstream", async () => {
    const failed = bench.build(endpoint, {
      containerfile: "FROM scratch\ncopy Containerfile /\nCOPY Containerfile /b\n",
    });
    await expect(failed).rejects.toThrow(/lint violation/);
  });

  test("an abort ends the program in the daemon", async () => {
    // Of this run alone, whatever else runs on the machine.
    const seconds = String(1_000_000 + process.pid);
    const abort = new AbortController();
    const building = bench.build(
      endpoint,
      {
        containerfile: `FROM scratch\nADD probe /probe\nRUN ["/probe", "sleep", "${seconds}"]\n`,
        files: { probe: bench.probe },
      },
      abort.signal,
    );
    const outcome = building.catch((error: unknown) => error);
    const running = async () =>
      (await promisify(execFile)("ps", ["-eo", "args"])).stdout.includes(`/probe sleep ${seconds}`);
    await expect.poll(running, { timeout: 60_000, interval: 50 }).toBe(true);
    abort.abort(new Error("enough"));
    expect(await outcome).toEqual(new Error("enough"));
    await expect.poll(running, { timeout: 10_000, interval: 50 }).toBe(false);
    expect(await bench.leftovers()).toEqual([]);
  });

  test("an abort while the context is written ends the solve", async () => {
    const abort = new AbortController();
    const building = bench.build(
      endpoint,
      { containerfile: "FROM scratch\nCOPY Containerfile /\n" },
      abort.signal,
    );
    abort.abort(new Error("enough"));
    await expect(building).rejects.toThrow("enough");
    expect(await bench.leftovers()).toEqual([]);
  });

  test("what a step prints is whole in the log, however much", async () => {
    const lines = Array.from({ length: 60_000 }, (_, number) => `line ${number} ${"x".repeat(60)}`);
    const { log } = await bench.build(endpoint, {
      containerfile: 'FROM scratch\nADD probe /probe\nADD text /text\nRUN ["/probe", "print", "/text"]\n',
      files: { probe: bench.probe, text: `${lines.join("\n")}\n` },
    });
    const printed = [...log.matchAll(/^#\d+ [\d.]+ (line \d+ x+)$/gm)].map(([, line]) => line);
    expect(printed).toEqual(lines);
  });
});
