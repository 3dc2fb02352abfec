import { createHash } from "node:crypto";
import { copyFile, link, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { languageHostScript } from "../pulumi-workarounds/language-host.ts";
import type { EnginePrograms } from "./engine-environment.ts";
import { isExecutable } from "./executable.ts";
import { fillFolder } from "./tool-folder.ts";

/**
 * Puts the engine and its language host into one folder, where the engine looks first: it warns in
 * every run of a host that it finds elsewhere on PATH. Programs that are in one folder already stay
 * there.
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
