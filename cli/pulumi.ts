import { Command } from "commander";
import { type EnginePrograms, engineEnvironment } from "../tools/engine-environment.ts";
import { placesOf } from "../tools/places.ts";
import { provideTools, toolsToRunWith } from "../tools/toolbox.ts";
import { become } from "./become.ts";

/** The engine and its language host, with all that the stack will need when the engine runs it. */
export async function provideEngine(): Promise<EnginePrograms> {
  const tools = await provideTools(toolsToRunWith());
  const [pulumi, host] = [tools.get("pulumi"), tools.get("pulumi-language-nodejs")];
  if (pulumi === undefined || host === undefined) throw new Error("provideTools left the engine out");
  return { pulumi: pulumi.path, languageHost: host.path };
}

/** `stagex pulumi …`: everything after it is the engine's. */
export function pulumiCommand(): Command {
  return new Command("pulumi")
    .argument("[arguments...]", "as pulumi takes them")
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (args: string[]) => {
      const engine = await provideEngine();
      // Wherever it is called from, it is this project's stacks that it works on.
      process.chdir(placesOf().project);
      await become(engine.pulumi, args, engineEnvironment(engine));
    });
}
