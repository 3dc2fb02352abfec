import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { readRegularFile } from "../../lib/fs/regular-file.ts";
import { pathsOf } from "../../lib/paths.ts";
import { parseTreeAddress } from "../../sources/tree/tree-checkout.ts";
import { type Check, ok, type Section } from "./check.ts";

/** In bytes; the engine writes some thousand. */
const maxStackFile = 2 ** 20;

/** Checks, for each stack with a configuration, that its tree has to be signed. */
export async function checkTrees(project = pathsOf().project): Promise<Section> {
  const files = (await readdir(project)).filter((name) => /^Pulumi\.[\w.-]+\.yaml$/.test(name)).sort();
  const checks = await Promise.all(
    files.map(async (file) => {
      const name = `stack ${file.slice("Pulumi.".length, -".yaml".length)}`;
      const text = (await readRegularFile(join(project, file), maxStackFile)).toString();
      return treeCheck(name, text, project);
    }),
  );
  const none = ok(
    "stacks",
    "none with a configuration of its own: the example tree, which is part of this checkout",
  );
  return { title: "Trees", checks: checks.length > 0 ? checks : [none] };
}

function treeCheck(name: string, settings: string, project: string): Check {
  const tree = settingIn(settings, "tree");
  if (tree === undefined) return ok(name, "the example tree, which is part of this checkout");
  if (settingIn(settings, "authenticate") !== undefined)
    return ok(name, `${tree}, if someone of the roster in stagex:authenticate has signed it`);
  const kind = kindOf(tree, project);
  const found = `${tree}${kind === "folder" ? ", a folder" : ""}: used whoever made it`;
  const how =
    'pulumi config set stagex:authenticate \'{"maintainers":"FILE","keys":"FOLDER","since":"COMMIT"}\'';
  const mend = kind === "folder" ? `name a git URL with a tag as stagex:tree, and ${how}` : how;
  return { name, found, minimum: null, verdict: "lacks", mend };
}

function kindOf(tree: string, project: string): "folder" | "git" {
  try {
    return parseTreeAddress(tree, project).kind;
  } catch {
    return "git";
  }
}

/** Returns a value of the `stagex:` configuration, which the engine writes as one line of YAML. */
function settingIn(settings: string, key: string): string | undefined {
  const start = `stagex:${key}:`;
  const line = settings.split("\n").find((one) => one.trimStart().startsWith(start));
  return line
    ?.slice(line.indexOf(start) + start.length)
    .trim()
    .replace(/^(["'])(.*)\1$/, "$2");
}
