import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { quoteShellWord } from "../../../../lib/text/shell-word.ts";

test.each(["plain/path-1.0", "", "a b", "it's", '$HOME `id` "x"', "a\nb", "~", "#x"])(
  "a shell reads %j as one word",
  (text) => {
    const read = execFileSync("sh", ["-c", `printf %s ${quoteShellWord(text)}`], { encoding: "utf8" });
    expect(read).toBe(text);
  },
);
