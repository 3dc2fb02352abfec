import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findTool, isSameGo, stackTools } from "../../../tools/tool-resolver.ts";

let folder = "";
let environment: NodeJS.ProcessEnv = {};
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "toolbox-"));
  environment = { PATH: join(folder, "bin"), HOME: folder, STAGEX_CACHE: join(folder, "cache") };
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Writes a fake program that prints this output: a test can't install the real one. */
function install(path: string, output: string, more = ""): string {
  const file = join(folder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `#!/bin/sh\ncase "$1" in\n${more}*) printf '%s' '${output}' ;;\nesac\n`);
  chmodSync(file, 0o755);
  return file;
}

test("takes an engine on PATH with the language host beside it", async () => {
  const pulumi = install("bin/pulumi", "v3.260.1");
  const host = install("bin/pulumi-language-nodejs", "");
  expect(await findTool("pulumi", { environment })).toMatchObject({
    path: pulumi,
    version: "v3.260.1",
    origin: "PATH",
  });
  expect(await findTool("pulumi-language-nodejs", { environment })).toMatchObject({ path: host });
});

test.each([
  ["too old", "v3.255.9"],
  ["of the next major version", "v4.0.0"],
  ["not telling its version", "dev"],
])("ignores an engine on PATH that is %s", async (_, version) => {
  install("bin/pulumi", version);
  install("bin/pulumi-language-nodejs", "");
  expect(await findTool("pulumi", { environment })).toBeNull();
  expect(await findTool("pulumi-language-nodejs", { environment })).toBeNull();
});

test("ignores an engine without a language host", async () => {
  install("bin/pulumi", "v3.256.0");
  expect(await findTool("pulumi", { environment })).toBeNull();
});

test("takes the npm launcher's newest complete engine where PATH has none", async () => {
  install(".pulumi/versions/3.257.0/bin/pulumi", "");
  install(".pulumi/versions/3.257.0/bin/pulumi-language-nodejs", "");
  install(".pulumi/versions/3.258.0/bin/pulumi", "");
  install(".pulumi/versions/3.99.0/bin/pulumi", "");
  install(".pulumi/versions/3.99.0/bin/pulumi-language-nodejs", "");
  const path = join(folder, ".pulumi/versions/3.257.0/bin/pulumi");
  expect(await findTool("pulumi", { environment })).toMatchObject({
    path,
    version: "v3.257.0",
    origin: "launcher",
  });
  const elsewhere = { ...environment, PULUMI_HOME: join(folder, "nowhere") };
  expect(await findTool("pulumi", { environment: elsewhere })).toBeNull();
});

test("ignores a buildkitd that another Go has built: its digests would differ", async () => {
  install("bin/buildkitd", "buildkitd github.com/moby/buildkit v0.34.2 0123");
  expect(await findTool("buildkitd", { environment })).toBeNull();
  expect([isSameGo("go1.26.0"), isSameGo("go1.26.8"), isSameGo("go1.27.0"), isSameGo(null)]).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

test("ignores a runc on PATH: it would show the host to builds", async () => {
  install("bin/runc", "runc version 1.1.5+ds1");
  expect(await findTool("runc", { environment })).toBeNull();
});

test("sets up no private daemon where $BUILDKIT_HOST names one", () => {
  expect(stackTools({})).toEqual(["pulumi", "pulumi-language-nodejs", "buildctl", "buildkitd", "runc"]);
  expect(stackTools({ BUILDKIT_HOST: "tcp://builder:1234" })).not.toContain("buildkitd");
  expect(stackTools({ BUILDKIT_HOST: "tcp://builder:1234" })).toContain("buildctl");
});
