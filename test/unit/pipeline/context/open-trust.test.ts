import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseConfig } from "../../../../config/schema.ts";
import { pathsOf } from "../../../../lib/paths.ts";
import { readConfiguredTrust } from "../../../../pipeline/context/open-trust.ts";
import { maintainersOf } from "../../../support/builders/maintainers.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

test("reports a missing roster or keys with the path and the command to set it", async () => {
  const [project, tree] = [await scratchFolder(), await scratchFolder()];
  const trust = (settings = {}) => readConfiguredTrust(parseConfig(settings), pathsOf(project), tree);
  await expect(trust()).rejects.toThrow(
    `no maintainers at ${join(tree, "MAINTAINERS")}: the tree has none of its own; say where: pulumi config set stagex:maintainers PATH`,
  );
  writeFileSync(join(project, "people"), maintainersOf({}));
  await expect(trust({ maintainers: "people", keys: "public" })).rejects.toThrow(
    `no keys at ${join(project, "public")}: there is nothing there; say where: pulumi config set stagex:keys PATH`,
  );
});
