import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import {
  formatIdentity,
  identityOf,
  isAlive,
  ownIdentity,
  parseIdentity,
} from "../../../../lib/fs/pid-identity.ts";

test("reports this process as alive", () => {
  expect(ownIdentity().pid).toBe(process.pid);
  expect(isAlive(ownIdentity())).toBe(true);
});

test.runIf(process.platform === "linux")(
  "distinguishes processes with the same number by their start",
  () => {
    const own = ownIdentity();
    expect(isAlive({ ...own, started: own.started - 1 })).toBe(false);
  },
);

test("reports an ended process as not alive", async () => {
  const child = spawn("sleep", ["60"]);
  const identity = identityOf(child.pid ?? 0);
  if (identity === undefined) throw new Error("the child is not running");
  expect(isAlive(identity)).toBe(true);
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(isAlive(identity)).toBe(false);
});

test("parses an identity at the front of a name", () => {
  const identity = { pid: 12, started: 345 };
  expect(parseIdentity(formatIdentity(identity))).toEqual(identity);
  expect(parseIdentity(`${formatIdentity(identity)}.abc`)).toEqual(identity);
  for (const other of ["", "12", "12.x", "x12.3", "12.345x"]) expect(parseIdentity(other)).toBeUndefined();
});
