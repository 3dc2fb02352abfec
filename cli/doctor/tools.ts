import { privateDaemonObstacle } from "../../tools/daemon-choice.ts";
import { findExecutable, queryVersion } from "../../tools/executable.ts";
import { goVersionOf } from "../../tools/go-build-info.ts";
import { findGo } from "../../tools/go-toolchain.ts";
import { pinnedGo, pinnedTools, type ToolName, toolNames } from "../../tools/pinned-tools.ts";
import { SetUpError } from "../../tools/set-up-error.ts";
import { pinnedVersion } from "../../tools/tool-folder.ts";
import { findTool, stackTools, type Tool } from "../../tools/tool-resolver.ts";
import { formatVersion } from "../../tools/version.ts";
import { type Check, ok, type Section } from "./check.ts";

/** Checks Node, Go, a C compiler, and each tool of the set-up. */
export async function checkTools(environment: NodeJS.ProcessEnv): Promise<Section> {
  const needed = neededTools(environment);
  const tools = new Map<ToolName, Tool | null>();
  for (const name of toolNames) tools.set(name, await findTool(name, { environment }));
  const isMissing = (name: ToolName): boolean => tools.get(name) === null;
  const go = await goCheck(environment, needed.some(isMissing));
  const gcc = await compilerCheck(environment, needed.includes("runc") && isMissing("runc"));
  const checks = [...tools].map(([name, tool]) =>
    tool === null ? missingTool(name, needed.includes(name), go, gcc) : foundTool(tool),
  );
  return {
    title: "Tools",
    checks: [ok("Node", `v${process.versions.node}`, "v24"), go, gcc, ...(await Promise.all(checks))],
  };
}

/**
 * Returns the tools of the main job on this machine: with a BuildKit of the user's, neither daemon
 * nor runtime.
 */
function neededTools(environment: NodeJS.ProcessEnv): readonly ToolName[] {
  const canRunDaemon = privateDaemonObstacle() === null;
  return stackTools(canRunDaemon ? environment : { ...environment, BUILDKIT_HOST: "another's" });
}

/** @param isNeeded some tool is still to be built with it */
async function goCheck(environment: NodeJS.ProcessEnv, isNeeded: boolean): Promise<Check> {
  const minimum = `${pinnedGo}, or 1.21 and a network to get it with`;
  try {
    const { installed, isElsewhere } = await findGo("the tools", environment);
    return ok("Go", isElsewhere ? `${installed}, which gets ${pinnedGo}` : installed, minimum);
  } catch (error) {
    if (!(error instanceof SetUpError)) throw error;
    const found = error.reason === "no-go" ? "none" : "too old or not working";
    return { name: "Go", found, minimum, verdict: isNeeded ? "falls short" : "lacks", mend: error.fix };
  }
}

/** @param isNeeded some tool is still to be compiled with it */
async function compilerCheck(environment: NodeJS.ProcessEnv, isNeeded: boolean): Promise<Check> {
  const path = await findExecutable("gcc", environment);
  const version = path === null ? null : await queryVersion(path, ["-dumpfullversion"], environment);
  if (version !== null) return ok("C compiler", `gcc ${formatVersion(version)}`, "any gcc");
  const mend = "apt-get install gcc libc6-dev";
  const verdict = isNeeded ? "falls short" : "lacks";
  return { name: "C compiler", found: "none", minimum: "any gcc", verdict, mend };
}

function minimumOf(name: ToolName): string {
  const { accepted } = pinnedTools[name];
  if (accepted === null) return "built here, with system-call filters";
  const version = `v${formatVersion(accepted.from)}`;
  return name === "buildkitd" ? `${version} built with ${pinnedGo}` : version;
}

async function foundTool({ name, path, version, origin, shortcoming }: Tool): Promise<Check> {
  const builtWith = (await goVersionOf(path)) ?? "Go unknown";
  const found = `${version ?? "version unknown"} (${builtWith}), ${origin === "built" ? "built here" : path}`;
  if (shortcoming === null) return ok(name, found, minimumOf(name));
  const { lack, fix: mend } = shortcoming;
  return { name, found: `${found}; ${lack}`, minimum: null, verdict: "lacks", mend };
}

async function missingTool(name: ToolName, isNeeded: boolean, go: Check, gcc: Check): Promise<Check> {
  const minimum = minimumOf(name);
  if (!pinnedTools[name].systems.includes(process.platform)) return ok(name, "none, and none needed here");
  const obstacle = [go, ...(name === "runc" ? [gcc] : [])].find(({ verdict }) => verdict !== "ok");
  if (obstacle === undefined) {
    const version = await pinnedVersion(pinnedTools[name]);
    return ok(name, `not yet; built from source (${version}) when first needed`, minimum);
  }
  const found = `none, and no ${obstacle.name} to build it with`;
  return { name, found, minimum, verdict: isNeeded ? "falls short" : "lacks", mend: obstacle.mend };
}
