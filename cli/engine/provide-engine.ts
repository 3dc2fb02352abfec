import { pathsOf } from "../../lib/paths.ts";
import { printable } from "../../lib/text/printable.ts";
import { printError } from "../../lib/text/terminal.ts";
import { chooseDaemon, type DaemonChoice } from "../../tools/daemon-choice.ts";
import type { EnginePrograms } from "../../tools/engine-environment.ts";
import { prepareEngineFolder } from "../../tools/engine-folder.ts";
import { keepStatePrivate } from "../../tools/private-state.ts";
import { SetUpError } from "../../tools/set-up-error.ts";
import { provideTools, stackTools } from "../../tools/tool-resolver.ts";

/**
 * Provides the engine and its language host, and what a stack needs when the engine runs it.
 *
 * @param isToBuild if false, a machine that can't build gets an engine too, and a message with the
 *   reason: previews, settings and state need no BuildKit, and `stagex:buildkit` may name one
 * @throws SetUpError with what is missing, and how to fix it
 */
export async function provideEngine(isToBuild: boolean): Promise<EnginePrograms> {
  keepStatePrivate(pathsOf());
  const builder = isToBuild ? await chooseDaemon() : await builderIfAny();
  if (builder?.kind === "docker") {
    printError(printable`${builder.because}: building with Docker's builder ${builder.name}`);
    // The engine, and through it the provider, finds it as if the user had set it.
    process.env.BUILDKIT_HOST = builder.address;
  }
  const tools = await provideTools(stackTools(builder ? process.env : { BUILDKIT_HOST: "another's" }));
  for (const { name, shortcoming } of tools.values())
    if (isToBuild && shortcoming !== null)
      printError(printable`${name} ${shortcoming.lack}\n  to fix it: ${shortcoming.fix}`);
  const [pulumi, host] = [tools.get("pulumi"), tools.get("pulumi-language-nodejs")];
  if (pulumi === undefined || host === undefined) throw new Error("provideTools left the engine out");
  return await prepareEngineFolder({ pulumi: pulumi.path, languageHost: host.path }, pathsOf().tools);
}

async function builderIfAny(): Promise<DaemonChoice | undefined> {
  try {
    return await chooseDaemon();
  } catch (error) {
    if (!(error instanceof SetUpError)) throw error;
    printError(printable`no image can be built from here: ${error.why}\n  to fix it: ${error.fix}`);
    return undefined;
  }
}
