import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { exitCode } from "../../../cli/output/exit-code.ts";
import { projectRoot } from "../../../lib/paths.ts";

const folder = mkdtempSync(join(tmpdir(), "stagex-command-"));
afterAll(() => rmSync(folder, { recursive: true }));

function stagex(
  args: readonly string[],
  environment: NodeJS.ProcessEnv = process.env,
  program = join(projectRoot, "cli/stagex"),
) {
  return spawnSync(program, [...args], { env: environment, cwd: folder, encoding: "utf8" });
}

test("--help names every subcommand", () => {
  const { status, stdout } = stagex(["--help"]);
  expect(status).toBe(exitCode.ok);
  for (const name of ["doctor", "pulumi", "env", "test"])
    expect(stdout).toMatch(new RegExp(`^ +${name} `, "m"));
});

test("the launcher finds its project through links, relative ones too", () => {
  symlinkSync(join(projectRoot, "cli/stagex"), join(folder, "first"));
  symlinkSync("first", join(folder, "second"));
  expect(stagex(["--help"], process.env, join(folder, "second")).status).toBe(exitCode.ok);
});

test.each([
  ["an unknown subcommand", ["biuld"]],
  ["an unknown option", ["doctor", "--jason"]],
])("%s is wrong use", (_, args) => {
  const { status, stderr } = stagex(args);
  expect(status).toBe(exitCode.usage);
  expect(stderr).toMatch(/^error: unknown/);
});

test.each([
  ["a missing argument of a subcommand's subcommand", ["ledger", "show"]],
  ["an argument too many there", ["ledger", "check", "x"]],
  ["a required option there that is not given", ["sign", "export"]],
])("%s is wrong use, and no answer", (_, args) => {
  expect(stagex(args).status).toBe(exitCode.usage);
});

test.each([
  ["a full disk", "--help > /dev/full", exitCode.output, /^stagex: can't write to stdout: ENOSPC: .*\n$/],
  ["a full disk for both", "--help > /dev/full 2>&1", exitCode.output, /^$/],
  ["a reader that has gone", "--help | true; exit $PIPESTATUS", 141, /^$/],
  ["a full disk beside the answer", "--wrong 2> /dev/full", exitCode.usage, /^$/],
])("stdout on %s: no stack", (_, end, status, said) => {
  const program = join(projectRoot, "cli/stagex");
  const ended = spawnSync("bash", ["-c", `"${program}" show ${end}`], {
    encoding: "utf8",
    cwd: folder,
  });
  expect(ended.stderr).toMatch(said);
  expect(ended.status).toBe(status);
});

test("without Go and without the tools it says what is missing and the command that mends it, and builds nothing", () => {
  const cache = join(folder, "cache");
  // A PATH on which sh and dirname are found, and nothing that is looked for.
  const environment = {
    PATH: join(folder, "no-such-folder"),
    HOME: folder,
    STAGEX_CACHE: cache,
    BUILDKIT_HOST: "tcp://127.0.0.1:9",
  };
  const program = join(projectRoot, "cli/stagex.mjs");
  const { status, stderr, stdout } = spawnSync(process.execPath, [program, "env"], {
    env: environment,
    encoding: "utf8",
  });
  expect(stderr).toMatch(
    /can't set up pulumi v\d.*there is no Go.*\n {2}to fix it: apt-get install golang-go/,
  );
  expect(status).toBe(exitCode.unavailable);
  expect(stdout).toBe("");
  expect(readdirSync(join(cache, "tools"))).toEqual([]);
});

test("the doctor, with nothing to build with, says the main job can't run and how it could", () => {
  const environment = {
    PATH: join(folder, "no-such-folder"),
    HOME: folder,
    STAGEX_CACHE: join(folder, "none"),
  };
  const program = join(projectRoot, "cli/stagex.mjs");
  const { status, stdout } = spawnSync(process.execPath, [program, "doctor", "--json"], {
    env: environment,
    encoding: "utf8",
  });
  expect(status).toBe(exitCode.no);
  const { ok, sections } = JSON.parse(stdout) as {
    ok: boolean;
    sections: { title: string; checks: { name: string; verdict: string; mend: string | null }[] }[];
  };
  expect(ok).toBe(false);
  const checks = sections.flatMap((section) => section.checks);
  const short = checks.filter(({ verdict }) => verdict === "falls short");
  expect(short.map(({ name }) => name)).toEqual(
    expect.arrayContaining(["Go", "C compiler", "pulumi", "buildkitd", "runc", "git"]),
  );
  for (const { name, mend } of short) expect(mend, name).toBeTruthy();
  // What only StageX's own scripts need never stands in the way.
  expect(checks.find(({ name }) => name === "docker")?.verdict).toBe("lacks");
});
