import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { formatShellExports } from "../../../../cli/commands/env.ts";

test("exports values that a shell reads back unchanged", () => {
  const value = `it's "quoted" $HOME \`id\` \\ \n end`;
  const exports = formatShellExports(["/a folder/bin", "/b$HOME"], { FIRST: value, EMPTY: "" });
  const script = `${exports}printf '%s|%s|%s' "$FIRST" "$EMPTY" "$PATH"`;
  const output = execFileSync("/bin/sh", ["-c", script], { env: { PATH: "/usr/bin" }, encoding: "utf8" });
  expect(output).toBe(`${value}||/a folder/bin:/b$HOME:/usr/bin`);
});
