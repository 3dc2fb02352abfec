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

test("a build's log has all lines", async () => {
  expect(await logged(["one", "two"])).toBe("one\ntwo\n");
});

test("a log that would have no end has one, and says so", async () => {
  const text = await logged(
    Array.from({ length: 1000 }, () => "y".repeat(9)),
    100,
  );
  expect(text).toMatch(/^(y{9}\n){9}\(more than 100 bytes: what follows is left out\)\n$/);
});
