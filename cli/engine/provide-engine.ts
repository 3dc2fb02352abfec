import { pathsOf } from "../../lib/paths.ts";
import { printable } from "../../lib/text/printable.ts";
import { printError } from "../../lib/text/terminal.ts";
import { type BuilderChoice, chooseBuilder } from "../../tools/builder-choice.ts";
import type { EnginePrograms } from "../../tools/engine-environment.ts";
import { prepareEngineFolder } from "../../tools/engine-folder.ts";
import { keepStatePrivate } from "../../tools/private-state.ts";
import { SetUpError } from "../../tools/set-up-error.ts";
import { provideTools, stackTools } from "../../tools/tool-resolver.ts";

/**
 * The engine and its language host, with all that the stack will need when the engine runs it.
 *
 * @param isToBuild where false, a machine that can't build gets an engine too, and is told why:
 *   previews, settings and state need no BuildKit, and `stagex:buildkit` may name one
 * @throws SetUpError naming what can't be had, and the mend
 */
export async function provideEngine(isToBuild: boolean): Promise<EnginePrograms> {
  keepStatePrivate(pathsOf());
  const builder = isToBuild ? await chooseBuilder() : await builderIfAny();
  if (builder?.kind === "docker") {
    printError(printable`${builder.because}: building with Docker's builder ${builder.name}`);
    // What is started from here, the engine and through it the provider, finds it as if the user
    // had named it.
    process.env.BUILDKIT_HOST = builder.address;
  }
  const tools = await provideTools(stackTools(builder ? process.env : { BUILDKIT_HOST: "another's" }));
  for (const { name, shortcoming } of tools.values())
    if (isToBuild && shortcoming !== null)
      printError(printable`${name} ${shortcoming.lack}\n  to mend it: ${shortcoming.fix}`);
  const [pulumi, host] = [tools.get("pulumi"), tools.get("pulumi-language-nodejs")];
  if (pulumi === undefined || host === undefined) throw new Error("provideTools left the engine out");
  return await prepareEngineFolder({ pulumi: pulumi.path, languageHost: host.path }, pathsOf().tools);
}

async function builderIfAny(): Promise<BuilderChoice | undefined> {
  try {
    return await chooseBuilder();
  } catch (error) {
    if (!(error instanceof SetUpError)) throw error;
    printError(printable`no image can be built from here: ${error.why}\n  to mend it: ${error.fix}`);
    return undefined;
  }
}
