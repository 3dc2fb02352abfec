import type { TreeFile } from "../tree-source.ts";
import type { StagexGenerator } from "./generator.ts";
import { targetsPy } from "./targets-py.ts";

/** All supported generations of StageX's generator, the newest first. */
const generations: readonly StagexGenerator[] = [targetsPy];

/** Finds the generation of a tree's layout; undefined for trees older than package.toml. */
export function detectGenerator(files: readonly TreeFile[]): StagexGenerator | undefined {
  return generations.find(({ isFor }) => isFor(files));
}

/**
 * Finds the generation that a plan or inputs name.
 * @throws Error if it is unknown here, as where a newer version of this project has written the
 *   name
 */
export function findGenerator(name: string | undefined): StagexGenerator {
  const found = generations.find((one) => one.name === name);
  if (found !== undefined) return found;
  throw new Error(
    `no generator ${JSON.stringify(name)} is known here: use the version of this project that wrote it`,
  );
}
