import { execFileSync, spawnSync } from "node:child_process";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "../../lib/paths.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";

test("a clone that is linked into another project exports its components", async () => {
  const project = await scratchFolder();
  await mkdir(join(project, "node_modules"));
  // As `npm install FOLDER` does.
  await symlink(projectRoot, join(project, "node_modules/stagex-pulumi"));
  const program = join(project, "program.ts");
  await writeFile(
    program,
    `import { PackageTree } from "stagex-pulumi/components/package-tree.ts"; console.log(PackageTree.name);`,
  );
  expect(execFileSync(process.execPath, [program], { cwd: project, encoding: "utf8" })).toBe("PackageTree\n");
});

test("npm pack is refused, for its package could not be imported", async () => {
  const { scripts } = JSON.parse(await readFile(join(projectRoot, "package.json"), "utf8"));
  const packing = spawnSync("/bin/sh", ["-c", scripts.prepack], { encoding: "utf8" });
  expect(packing.status).toBe(1);
  expect(packing.stderr).toContain("npm install FOLDER");
});
