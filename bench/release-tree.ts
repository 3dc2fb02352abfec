import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { addSleepingImage } from "../test/support/builders/sleeping-image.ts";

/** The images that each image is built from, by number: the graph of a StageX release, without its names. */
export type ReleaseGraph = readonly (readonly number[])[];

/** The images of a release, each after those that it is built from, or so many of the first. */
export async function releaseGraph(images = Number.POSITIVE_INFINITY): Promise<ReleaseGraph> {
  const text = await readFile(new URL("release-graph.txt", import.meta.url), "utf8");
  const lines = text.trimEnd().split("\n").slice(0, images);
  return lines.map((line) => line.split(" ").filter(Boolean).map(Number));
}

/** The name of an image in the tree that {@link writeReleaseTree} makes. */
export function releaseImage(number: number): string {
  return `user-p${number}`;
}

/** Makes a tree of a graph, in which every image has one RUN that does nothing, and all that it is built from under its feet. */
export async function writeReleaseTree(root: string, graph: ReleaseGraph): Promise<void> {
  for (const [number, dependencies] of graph.entries())
    await addSleepingImage(root, `p${number}`, 0, dependencies.map(releaseImage));
  execFileSync("git", ["-C", root, "init", "--quiet"]);
  execFileSync("git", ["-C", root, "add", "--all"]);
}
