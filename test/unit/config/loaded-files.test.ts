import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** Collects the files that a file loads, itself or through others. Type imports load nothing. */
function loadedBy(file: string, loaded = new Set<string>()): Set<string> {
  if (loaded.has(file)) return loaded;
  loaded.add(file);
  const text = readFileSync(join(root, file), "utf8");
  for (const [, from = ""] of text.matchAll(/^(?:import|export)\s(?!type\b)[^;]*?"(\.[^"]+)"/gm))
    loadedBy(normalize(join(dirname(file), from)), loaded);
  return loaded;
}

test("reading the configuration loads few files, none of builders, the store, tools or the pipeline", () => {
  const loaded = [...loadedBy("config/schema.ts")];
  expect(loaded).toContain("oci/registry/registry-address.ts");
  expect(loaded.filter((file) => /^(?:buildkit|oci\/store|tools|pipeline|providers)\//.test(file))).toEqual(
    [],
  );
  expect(loaded.length).toBeLessThanOrEqual(25);
});
