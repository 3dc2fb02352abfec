import { findExecutable, versionOf } from "../../tools/executable.ts";
import { goVersionOf } from "../../tools/go-build-info.ts";
import { findGo } from "../../tools/go-toolchain.ts";
import { pinnedGo, pinnedTools, type ToolName, toolNames } from "../../tools/pinned-tools.ts";
import { SetUpError } from "../../tools/set-up-error.ts";
import { pinnedVersion } from "../../tools/tool-folder.ts";
import { findTool, type Tool, toolsToRunWith } from "../../tools/toolbox.ts";
import { formatVersion } from "../../tools/version.ts";
import { type Check, ok, type Section } from "./check.ts";

/** Node, Go, and each tool of the set-up. */
export async function engineSection(
  environment: NodeJS.ProcessEnv,
  needed = toolsToRunWith(environment),
): Promise<Section> {
  const go = await goCheck(environment);
  const gcc = await compilerCheck(environment);
  const tools = await Promise.all(
    toolNames.map(async (name) =>
      toolCheck(name, await findTool(name, { environment }), needed.includes(name), go, gcc),
    ),
  );
  // What is built already needs no Go any more.
  const everythingIsThere = tools.every(
    ({ verdict, found }) => verdict !== "falls short" && !found.startsWith("not yet"),
  );
  const forBuilding = [go, gcc].map((check) =>
    check.verdict === "falls short" && everythingIsThere ? { ...check, verdict: "lacks" as const } : check,
  );
  return {
    title: "Tools",
    checks: [ok("Node", `v${process.versions.node}`, "v24"), ...forBuilding, ...tools],
  };
}

async function goCheck(environment: NodeJS.ProcessEnv): Promise<Check> {
  const minimum = `${pinnedGo}, or 1.21 and a network to get it with`;
  try {
    const { installed, isElsewhere } = await findGo("the tools", environment);
    return ok("Go", isElsewhere ? `${installed}, which gets ${pinnedGo}` : installed, minimum);
  } catch (error) {
    if (!(error instanceof SetUpError)) throw error;
    const found = error.reason === "no-go" ? "none" : "too old or not working";
    return { name: "Go", found, minimum, verdict: "falls short", mend: error.mend };
  }
}

async function compilerCheck(environment: NodeJS.ProcessEnv): Promise<Check> {
  const path = await findExecutable("gcc", environment);
  const version = path === null ? null : await versionOf(path, ["-dumpfullversion"], environment);
  if (version !== null) return ok("C compiler", `gcc ${formatVersion(version)}`, "any gcc");
  const mend = "apt-get install gcc libc6-dev";
  return { name: "C compiler", found: "none", minimum: "any gcc", verdict: "falls short", mend };
}

async function toolCheck(
  name: ToolName,
  tool: Tool | null,
  isNeeded: boolean,
  go: Check,
  gcc: Check,
): Promise<Check> {
  const pinned = pinnedTools[name];
  const minimum = `v${formatVersion(pinned.accepted.from)}${name === "buildkitd" ? ` built with ${pinnedGo}` : ""}`;
  if (tool !== null) {
    const builtWith = await goVersionOf(tool.path);
    const origin = tool.origin === "built" ? "built here" : tool.path;
    const found = `${tool.version ?? "version unknown"} (${builtWith ?? "Go unknown"}), ${origin}`;
    if (tool.shortcoming === null) return ok(name, found, minimum);
    const { lack, mend } = tool.shortcoming;
    return { name, found: `${found}; ${lack}`, minimum: null, verdict: "lacks", mend };
  }
  const obstacle = [go, ...(name === "runc" ? [gcc] : [])].find(({ verdict }) => verdict === "falls short");
  if (obstacle === undefined) {
    return ok(
      name,
      `not yet; it is built from source (${await pinnedVersion(pinned)}) when first needed`,
      minimum,
    );
  }
  const verdict = isNeeded ? "falls short" : "lacks";
  return {
    name,
    found: `none, and no ${obstacle.name} to build it with`,
    minimum,
    verdict,
    mend: obstacle.mend,
  };
}
