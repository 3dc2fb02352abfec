import { CommanderError } from "commander";
import { expect, test } from "vitest";
import { CommandError, describeFailure, exitCode } from "../../../../cli/output/exit-code.ts";
import { FetchRecordError } from "../../../../sources/recording/fetch-record-error.ts";
import { SetUpError } from "../../../../tools/set-up-error.ts";

test("what is expected shows its message alone", () => {
  const error = new SetUpError("runc v1.5.2", "no-c-compiler", "there is no gcc", "apt-get install gcc");
  const { message, code } = describeFailure(error);
  expect(code).toBe(exitCode.unavailable);
  expect(message).toBe("stagex: can't set up runc v1.5.2: there is no gcc\n  to fix it: apt-get install gcc");
});

test("what is not shows where it happened", () => {
  const { message, code } = describeFailure(new TypeError("x is undefined"));
  expect(code).toBe(exitCode.fault);
  expect(message).toContain("TypeError: x is undefined\n    at ");
  expect(describeFailure("thrown text")).toMatchObject({ code: exitCode.fault });
});

test("a command says its own end", () => {
  expect(describeFailure(new CommandError("no such image: core-bash"))).toEqual({
    message: "stagex: no such image: core-bash",
    code: exitCode.usage,
  });
  expect(describeFailure(new CommandError("2 differ", exitCode.no)).code).toBe(exitCode.no);
});

test("commander has said it already: help is well, a wrong option is not", () => {
  expect(describeFailure(new CommanderError(0, "commander.helpDisplayed", "(outputHelp)"))).toEqual({
    message: "",
    code: 0,
  });
  expect(describeFailure(new CommanderError(1, "commander.unknownOption", "x"))).toEqual({
    message: "",
    code: 2,
  });
});

test("what the machine refuses is no fault of ours: its message, and what mends it", () => {
  const full = Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
  const { message, code } = describeFailure(full);
  expect(code).toBe(exitCode.unavailable);
  expect(message).toMatch(/^stagex: ENOSPC.*make room/);
  expect(message).not.toContain("    at ");
});

test("a fetch record that can't be used is no fault of stagex", () => {
  const { message, code } = describeFailure(
    new FetchRecordError("ledger/fetches/ab/x.json", "it is not JSON"),
  );
  expect(message).toBe(
    "stagex: the fetch record ledger/fetches/ab/x.json can't be used: it is not JSON. Delete it, or restore it from git",
  );
  expect(code).toBe(exitCode.no);
});
