import { expect, test } from "vitest";
import { buildArguments, type SolveRequest } from "../../../../buildkit/client/solve.ts";
import { SolveError } from "../../../../buildkit/client/solve-error.ts";
import { targetsPy } from "../../../../distro/generator/targets-py.ts";
import { digestOf } from "../../../../oci/digest.ts";
import { expectHarmless, hostileText } from "../../../support/builders/hostile-text.ts";

const request: SolveRequest = {
  endpoint: { address: "unix:///b.sock", buildctl: "buildctl" },
  ...{ image: "core-a", version: "1.2", target: null, platforms: ["linux/amd64", "linux/arm64"] },
  assembly: targetsPy.commonOptions,
  buildArgs: { VERSION: "1.2", ODD: 'a,b="c d"' },
  context: { context: "/made/context", recipe: "/made/recipe", fetch: "/made/fetch" },
  dependencies: { "core-b": digestOf("b") },
  ...{ store: "/store", destination: "/out/with,comma", scratch: "/scratch" },
};

const layout = { folder: "/made/dependencies", layers: new Map<never, never>() };
const options = (args: readonly string[]) => args.filter((_, index) => args[index - 1] === "--opt");

const cacheNamespace = /^build-arg:BUILDKIT_CACHE_MOUNT_NS=([0-9a-f-]{36})$/;

test("names the caches of each solve differently", () => {
  const named = () =>
    options(buildArguments(request, layout)).flatMap((option) => cacheNamespace.exec(option)?.[1] ?? []);
  const [first, second] = [named(), named()];
  expect(first).toHaveLength(1);
  expect(second).not.toEqual(first);
});

test("passes the options of StageX's own generator, and turns the network off", () => {
  const given = options(buildArguments(request, layout)).filter((option) => !cacheNamespace.test(option));
  expect(given.toSorted()).toEqual(
    [
      "build-arg:BUILDKIT_DOCKERFILE_CHECK=skip=FromPlatformFlagConstDisallowed;error=true",
      "build-arg:BUILDKIT_MULTI_PLATFORM=1",
      'build-arg:ODD=a,b="c d"',
      "build-arg:SOURCE_DATE_EPOCH=1",
      "build-arg:VERSION=1.2",
      "context:fetch=local:fetch",
      `context:stagex/core-b=oci-layout:dependencies@${digestOf("b")}`,
      "filename=Containerfile",
      "force-network-mode=none",
      "platform=linux/amd64,linux/arm64",
      "ulimit=nofile=2048:16384",
    ].toSorted(),
  );
});

test("names pulled dependencies by repository and digest, and offers no layout where all are pulled", () => {
  const dependencies = { "core-b": digestOf("b"), "core-c": digestOf("c") };
  const repositories = { "core-b": "h.example/stagex/core-b" };
  const mixed = buildArguments({ ...request, dependencies, repositories }, layout);
  expect(options(mixed).filter((option) => option.startsWith("context:stagex/"))).toEqual([
    `context:stagex/core-b=docker-image://h.example/stagex/core-b@${digestOf("b")}`,
    `context:stagex/core-c=oci-layout:dependencies@${digestOf("c")}`,
  ]);
  expect(mixed).toContain("--oci-layout");
  expect(buildArguments({ ...request, repositories }, layout)).not.toContain("--oci-layout");
});

test("keeps the options of every build in spite of a package's arguments", () => {
  const buildArgs = { SOURCE_DATE_EPOCH: "7" };
  const given = options(buildArguments({ ...request, buildArgs }, layout));
  expect(given.filter((option) => option.includes("SOURCE_DATE_EPOCH"))).toEqual([
    "build-arg:SOURCE_DATE_EPOCH=1",
  ]);
});

test("passes the target of an image that has one", () => {
  expect(options(buildArguments({ ...request, target: "package-x" }, layout))).toContain("target=package-x");
});

test("asks for a layout with StageX's name and annotations, and quotes odd characters", () => {
  const args = buildArguments({ ...request, version: '1,"2"' }, layout);
  const output = args[args.indexOf("--output") + 1] ?? "";
  for (const field of [
    "type=oci",
    "tar=false",
    "rewrite-timestamp=true",
    "force-compression=true",
    "oci-mediatypes=true",
  ]) {
    expect(output.split(",")).toContain(field);
  }
  expect(output).toContain('"annotation.org.opencontainers.image.version=1,""2"""');
  expect(output).toContain("annotation.containerd.io/distribution.source.docker.io=stagex/core-a,");
  expect(output).toContain("annotation.org.opencontainers.image.created=1970-01-01T00:00:01Z");
  expect(output).toContain('"dest=/out/with,comma"');
});

test.each([
  ["exit code: 137", [], /exit code 137: it was killed/],
  [
    "exit code: 2",
    ["sh: can't fork: Resource temporarily unavailable"],
    /exit code 2: it could start no more/,
  ],
  ["cannot allocate memory", [], /It wanted more memory than a step may have/],
  ["exit code: 1", ["no such file"], /exit code 1$/m],
])("explains the limit behind a failed step: %s", (error, tail, words) => {
  const failed = {
    step: "build 2/2",
    name: "RUN make",
    error: `process "make" did not complete: ${error}`,
    wasKilled: false,
    tail,
  };
  expect(new SolveError("core-a", failed, [], "/log").message).toMatch(words);
});

test.each([
  ["exit code: 2", true, true, /exit code 2: it was killed/],
  ["exit code: 2", false, false, /exit code 2$/m],
  ["exit code: 137", false, true, /exit code 137: it was killed/],
  ["cannot allocate memory", true, true, /It wanted more memory/],
])(
  "reports whether memory lacked: %s, killed by the kernel %s: %s",
  (error, wasKilled, isOutOfMemory, words) => {
    const failed = { step: "2/2", name: "RUN make", error: `process: ${error}`, wasKilled, tail: [] };
    const found = new SolveError("core-a", failed, [], "/log");
    expect(found.isOutOfMemory).toBe(isOutOfMemory);
    expect(found.message).toMatch(words);
    const lost = new SolveError("core-a", failed, [], "/log", {
      kind: "gone",
      message: "it cancelled the build",
    });
    expect(lost.isOutOfMemory).toBe(false);
  },
);

test("quotes buildctl's error where no step has failed", () => {
  const error = new SolveError(
    "core-a",
    undefined,
    ["first", "error: failed to solve: no such stage"],
    "/log",
  );
  expect(error.message).toBe(
    "core-a can't be built: no such stage\n  first\n  error: failed to solve: no such stage\nThe whole log: /log",
  );
  expect(error.step).toBeUndefined();
  expect(error.exitCode).toBeUndefined();
});

test("escapes line ends and control characters of a recipe's steps and output", () => {
  const failed = {
    step: "build 1/2",
    name: "RUN make",
    error: `process "/bin/sh -c \n::error::FORGED" can't be run${hostileText}`,
    wasKilled: false,
    tail: ["::error::FORGED", `\tcc\u202e ##[error]FORGED`],
  };
  const { message, tail } = new SolveError("user-x", failed, [], "/x.log");
  expectHarmless(message);
  expect(message.split("\n")).toHaveLength(4);
  expect(tail[1]).toBe("\tcc\\u202e #\\u0023[error]FORGED");
  const words = ["warning: x", `error: failed to solve: ${hostileText}`, hostileText];
  expectHarmless(new SolveError("user-x", undefined, words, "/x.log").message);
});
