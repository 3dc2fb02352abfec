import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { BuildLog } from "../../../../buildkit/client/build-log.ts";
import { printableOutput } from "../../../../lib/text/printable.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

async function logged(lines: readonly string[], limit?: number): Promise<string> {
  const path = join(await scratchFolder(), "logs", "core-x.log");
  const log = await BuildLog.open(path, limit);
  for (const line of lines) log.line(printableOutput(line));
  log.flush();
  log.close();
  return readFileSync(path, "utf8");
}

test("writes all lines of a build", async () => {
  expect(await logged(["one", "two"])).toBe("one\ntwo\n");
});

test("ends a log at its limit with a notice", async () => {
  const text = await logged(
    Array.from({ length: 1000 }, () => "y".repeat(9)),
    100,
  );
  expect(text).toMatch(/^(y{9}\n){9}\(more than 100 bytes: the rest is omitted\)\n$/);
});
