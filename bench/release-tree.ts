import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { addSleepingImage } from "../test/support/builders/sleeping-image.ts";

/** The graph of a StageX release without names: the numbers of the dependencies of each image. */
export type ReleaseGraph = readonly (readonly number[])[];

/**
 * Reads the graph of a release, each image after its dependencies, or the first so many images of
 * it.
 */
export async function releaseGraph(images = Number.POSITIVE_INFINITY): Promise<ReleaseGraph> {
  const text = await readFile(new URL("release-graph.txt", import.meta.url), "utf8");
  const lines = text.trimEnd().split("\n").slice(0, images);
  return lines.map((line) => line.split(" ").filter(Boolean).map(Number));
}

/** Returns the name of an image in the tree of {@link writeReleaseTree}. */
export function releaseImage(number: number): string {
  return `user-p${number}`;
}

/**
 * Writes a tree of a graph, in which every image copies its dependencies and has one RUN that does
 * nothing.
 */
export async function writeReleaseTree(root: string, graph: ReleaseGraph): Promise<void> {
  for (const [number, dependencies] of graph.entries())
    await addSleepingImage(root, `p${number}`, 0, dependencies.map(releaseImage));
  execFileSync("git", ["-C", root, "init", "--quiet"]);
  execFileSync("git", ["-C", root, "add", "--all"]);
}
