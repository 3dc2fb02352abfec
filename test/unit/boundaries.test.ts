import { mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cruise, type ICruiseResult } from "dependency-cruiser";
import extractConfiguration from "dependency-cruiser/config-utl/extract-depcruise-config";
import extractTSConfig from "dependency-cruiser/config-utl/extract-ts-config";
import { expect, test } from "vitest";
import { scratchFolder } from "../support/builders/scratch-folder.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/**
 * Returns the rules that a tree violates, each with the import, or the start of the circle, that
 * does so.
 */
async function violationsIn(baseDir: string): Promise<string[]> {
  return (await cruiseTree(baseDir)).found;
}

async function cruiseTree(baseDir: string) {
  const { options = {}, ...ruleSet } = await extractConfiguration(join(root, ".dependency-cruiser.ts"));
  const { enhancedResolveOptions, tsConfig: _, ...cruiseOptions } = options;
  const { output } = await cruise(
    ["."],
    { ...cruiseOptions, baseDir, validate: true, ruleSet },
    enhancedResolveOptions as Parameters<typeof cruise>[2],
    { tsConfig: extractTSConfig(join(root, "tsconfig.json")) },
  );
  const { summary, modules } = output as ICruiseResult;
  const found = summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`);
  return { found: [...found, ...circlesWithParent(modules)], summary };
}

/**
 * Returns the circles of a folder and one inside of it, which dependency-cruiser takes for one
 * folder.
 */
function circlesWithParent(modules: ICruiseResult["modules"]): string[] {
  const imports = modules.flatMap(({ source, dependencies }) =>
    dependencies.map(({ resolved }) => ({ from: dirname(source), to: dirname(resolved) })),
  );
  const inward = imports.filter(({ from, to }) => from !== "." && to.startsWith(`${from}/`));
  const circles = inward.filter((one) => imports.some(({ from, to }) => from === one.to && to === one.from));
  return [...new Set(circles.map(({ from, to }) => `no-folder-circles: ${from} -> ${to}`))];
}

test("boundaries, of this repository, hold", { timeout: 120_000 }, async () => {
  const { found, summary } = await cruiseTree(root);
  expect(found).toEqual([]);
  expect(summary.totalCruised).toBeGreaterThan(500);
  expect(summary.totalDependenciesCruised).toBeGreaterThan(3000);
});

/** Violations to plant: the rule that has to find each, and the files that make it. */
const planted: readonly (readonly [rule: string, files: Readonly<Record<string, string>>])[] = [
  ["one-way-distro", { "distro/a.ts": 'import "../oci/b.ts";', "oci/b.ts": "" }],
  [
    "one-way-distro",
    { "distro/a.ts": 'export type { B } from "../config/b.ts";', "config/b.ts": "export type B = 1;" },
  ],
  ["one-way-lib", { "lib/text/a.ts": 'export const b = () => import("../../cli/b.ts");', "cli/b.ts": "" }],
  [
    "one-way-pipeline",
    {
      "pipeline/a.ts": 'import type { B } from "../cli/b.ts"; export type A = B;',
      "cli/b.ts": "export type B = 1;",
    },
  ],
  [
    "no-circles",
    {
      "oci/a.ts": 'import { b } from "./b.ts"; export const a = b;',
      "oci/b.ts": 'import { a } from "./a.ts"; export const b = a;',
    },
  ],
  [
    "no-circles",
    {
      "oci/a.ts": 'import type { B } from "./b.ts"; export type A = B;',
      "oci/b.ts": 'import type { A } from "./a.ts"; export type B = A;',
    },
  ],
  [
    "no-folder-circles",
    {
      "oci/x/a.ts": 'import "../y/b.ts";',
      "oci/y/b.ts": "",
      "oci/y/c.ts": 'import "../x/d.ts";',
      "oci/x/d.ts": "",
    },
  ],
  [
    "no-folder-circles",
    {
      "oci/a.ts": 'import "./x/b.ts";',
      "oci/x/b.ts": "",
      "oci/x/c.ts": 'import type { D } from "../d.ts"; export type C = D;',
      "oci/d.ts": "export type D = 1;",
    },
  ],
  [
    "provider-by-resource-alone",
    { "components/a.ts": 'import "../providers/stagex/provider.ts";', "providers/stagex/provider.ts": "" },
  ],
  ["nobody-imports-bench", { "test/unit/a.test.ts": 'import "../../bench/b.ts";', "bench/b.ts": "" }],
  ["product-imports-no-test", { "index.ts": 'import "./test/support/b.ts";', "test/support/b.ts": "" }],
  [
    "pulumi-in-its-rooms",
    { "pipeline/a.ts": 'import type { Output } from "@pulumi/pulumi"; export type A = Output<1>;' },
  ],
  ["grpc-in-the-server-alone", { "providers/stagex/resources/a.ts": 'import "@grpc/grpc-js";' }],
  ["no-development-package", { "oci/a.ts": 'import "fast-check";' }],
  ["all-can-be-found", { "oci/a.ts": 'import "./gone.ts";' }],
];

test.each(planted)("%s finds a violation planted in %o", async (rule, files) => {
  const folder = await scratchFolder();
  for (const shared of ["node_modules", "package.json"])
    await symlink(join(root, shared), join(folder, shared));
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  expect(await violationsIn(folder)).toContainEqual(expect.stringMatching(`^${rule}: `));
});
