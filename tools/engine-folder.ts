import { createHash } from "node:crypto";
import { copyFile, link, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { languageHostScript } from "../pulumi-workarounds/language-host.ts";
import type { EnginePrograms } from "./engine-environment.ts";
import { isExecutable } from "./executable.ts";
import { fillFolder } from "./tool-folder.ts";

/**
 * The engine and its language host in one folder, where the engine looks for what belongs to it: a host that it finds on
 * PATH elsewhere it takes too, but warns of it in every run. Programs that lie together already stay where they are.
 *
 * @param tools the folder of built tools
 */
export async function prepareEngineFolder(programs: EnginePrograms, tools: string): Promise<EnginePrograms> {
  if (dirname(programs.pulumi) === dirname(programs.languageHost)) return programs;
  const launcher = isBuilt(programs.languageHost, tools)
    ? languageHostScript(programs.languageHost)
    : undefined;
  const name = createHash("sha256")
    .update(`${programs.pulumi}\n${launcher ?? programs.languageHost}`)
    .digest("hex")
    .slice(0, 12);
  const folder = join(tools, `engine-${name}`);
  const together = { pulumi: join(folder, "pulumi"), languageHost: join(folder, "pulumi-language-nodejs") };
  const isFilled = async () =>
    (await isExecutable(together.pulumi)) && (await isExecutable(together.languageHost));
  if (await isFilled()) return together;
  await fillFolder(folder, isFilled, async (temporary) => {
    await linkOrCopy(programs.pulumi, join(temporary, "pulumi"));
    const host = join(temporary, "pulumi-language-nodejs");
    if (launcher === undefined) await linkOrCopy(programs.languageHost, host);
    else await writeFile(host, launcher, { mode: 0o755 });
  });
  return together;
}

function isBuilt(program: string, tools: string): boolean {
  return dirname(dirname(program)) === tools;
}

async function linkOrCopy(from: string, to: string): Promise<void> {
  await link(from, to).catch(() => copyFile(from, to));
}
