import { expect, test } from "vitest";
import { readLineHistory } from "../../../../distro/published/line-history.ts";

const [first, second] = ["1".repeat(40), "2".repeat(40)];
const line = (digit: string) => `${digit.repeat(64)} core-a`;

const log = `commit ${second}

diff --git a/digests/core.txt b/digests/core.txt
@@ -1 +1,4 @@
-${line("a")}
+${line("b")}\r
+${line("c")}
+junk\rcommit --injected
+junk\u2028commit --injected
commit ${first}

diff --git a/digests/core.txt b/digests/core.txt
@@ -0,0 +1 @@
+${line("a")}
`;

const writersOf = async (text: string) => await readLineHistory(async () => text, second);

test("names the commit that added a line", async () => {
  const writers = await writersOf(log);
  expect([writers(line("a")), writers(line("b")), writers(line("c"))]).toEqual([[first], [second], [second]]);
});

test("leaves out a commit that only moved a line", async () => {
  const writers = await writersOf(`${log.slice(0, log.indexOf(`commit ${first}`))}+${line("a")}\n`);
  expect(writers(line("a"))).toEqual([]);
});

test("takes no content for a commit, and keeps only digests", async () => {
  const writers = await writersOf(log);
  expect(writers("junk")).toEqual([]);
  expect(writers("junk\rcommit --injected")).toEqual([]);
});

test("reads millions of lines within its time limit", async () => {
  const began = performance.now();
  await writersOf(`commit ${first}\n${"+x\n".repeat(4_000_000)}`);
  expect(performance.now() - began).toBeLessThan(8000);
});
