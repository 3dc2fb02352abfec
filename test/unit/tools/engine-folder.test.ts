import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { prepareEngineFolder } from "../../../tools/engine-folder.ts";
import { scratchFolder } from "../../support/builders/scratch-folder.ts";

/** Writes a program that prints its arguments, one a line. */
function install(scratch: string, path: string): string {
  const place = join(scratch, path);
  mkdirSync(dirname(place), { recursive: true });
  writeFileSync(place, `#!/bin/sh\nprintf '%s\\n' "$0" "$@"\n`, { mode: 0o755 });
  return place;
}

function argumentsOf(program: string): string[] {
  return execFileSync(program, ["-tracing=", "127.0.0.1:1"], { encoding: "utf8" })
    .trim()
    .split("\n")
    .slice(1);
}

test("starts the built language host without the TypeScript compiler", async () => {
  const scratch = await scratchFolder();
  // A folder with a blank and a quote in its path.
  const tools = join(scratch, "the user's cache/tools");
  const programs = {
    pulumi: install(scratch, "the user's cache/tools/pulumi-v1/pulumi"),
    languageHost: install(scratch, "the user's cache/tools/pulumi-language-nodejs-v1/pulumi-language-nodejs"),
  };
  const together = await prepareEngineFolder(programs, tools);
  expect(dirname(together.pulumi)).toBe(dirname(together.languageHost));
  expect(argumentsOf(together.languageHost)).toEqual(["-typescript=false", "-tracing=", "127.0.0.1:1"]);
  expect(argumentsOf(together.pulumi)).toEqual(["-tracing=", "127.0.0.1:1"]);
  expect(await prepareEngineFolder(programs, tools)).toEqual(together);
});

test("starts another language host without the flag", async () => {
  const scratch = await scratchFolder();
  const programs = {
    pulumi: install(scratch, "a/pulumi"),
    languageHost: install(scratch, "b/pulumi-language-nodejs"),
  };
  const together = await prepareEngineFolder(programs, join(scratch, "tools"));
  expect(readFileSync(together.languageHost, "utf8")).toBe(readFileSync(programs.languageHost, "utf8"));
  expect(argumentsOf(together.languageHost)).toEqual(["-tracing=", "127.0.0.1:1"]);
});

test("leaves programs in a common folder there", async () => {
  const scratch = await scratchFolder();
  const programs = {
    pulumi: install(scratch, "c/pulumi"),
    languageHost: install(scratch, "c/pulumi-language-nodejs"),
  };
  expect(await prepareEngineFolder(programs, join(scratch, "tools"))).toEqual(programs);
});
