import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkTrees } from "../../../../cli/doctor/tree.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

test("names the stacks whose tree needs no signature", async () => {
  const project = await scratchFolder();
  expect((await checkTrees(project)).checks).toMatchObject([{ name: "stacks", verdict: "ok" }]);
  const write = (stack: string, ...lines: string[]) =>
    writeFileSync(join(project, `Pulumi.${stack}.yaml`), ["config:", ...lines].join("\n"));
  const signed = '  stagex:authenticate: \'{"maintainers":"m","keys":"k","since":"c"}\'';
  write("a", '  stagex:verify: "true"');
  write("b", "  stagex:tree: ../stagex");
  write("c", "  stagex:tree: https://git.example/stagex#2026.03.0");
  write("d", "  stagex:tree: https://git.example/stagex#2026.03.0", signed);
  const { checks } = await checkTrees(project);
  expect(checks.map(({ name, verdict }) => [name, verdict])).toEqual([
    ["stack a", "ok"],
    ["stack b", "lacks"],
    ["stack c", "lacks"],
    ["stack d", "ok"],
  ]);
  expect(checks[1]).toMatchObject({ found: "../stagex, a folder: used whoever made it" });
  expect(checks[2]?.mend).toMatch(/^pulumi config set stagex:authenticate/);
});
