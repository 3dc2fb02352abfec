import { join } from "node:path";
import { expect, test } from "vitest";
import { PublishedInputs } from "../../../distro/published/published-inputs.ts";
import { findPublishedTree } from "../../../distro/published/published-tree.ts";
import { readTree } from "../../../distro/tree/tree.ts";
import { projectRoot } from "../../../lib/paths.ts";

test("each image of the seed tree has the inputs that its digest was published for", async () => {
  const platforms = ["linux/amd64"];
  const tree = await readTree(join(projectRoot, "examples/seed-tree"), { platforms });
  const inputs = new PublishedInputs(tree, await findPublishedTree(tree, { platforms }));
  const standings = await inputs.statuses(new Map(), async () => undefined);
  expect([...standings].filter(([, standing]) => standing !== "published")).toEqual([]);
});
