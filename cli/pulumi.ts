import { Command } from "commander";
import { chooseBuilder } from "../tools/builder-choice.ts";
import { type EnginePrograms, engineEnvironment } from "../tools/engine-environment.ts";
import { engineFolder } from "../tools/engine-folder.ts";
import { placesOf } from "../tools/places.ts";
import { provideTools, toolsToRunWith } from "../tools/toolbox.ts";
import { become } from "./become.ts";

/**
 * The engine and its language host, with all that the stack will need when the engine runs it.
 *
 * @throws SetUpError naming what can't be had, and the mend
 */
export async function provideEngine(): Promise<EnginePrograms> {
  const builder = await chooseBuilder();
  if (builder.kind === "docker") {
    process.stderr.write(`${builder.because}: building with Docker's builder ${builder.name}\n`);
    // What is started from here, the engine and through it the provider, finds it as if the user had named it.
    process.env.BUILDKIT_HOST = builder.address;
  }
  const tools = await provideTools(toolsToRunWith());
  const [pulumi, host] = [tools.get("pulumi"), tools.get("pulumi-language-nodejs")];
  if (pulumi === undefined || host === undefined) throw new Error("provideTools left the engine out");
  return await engineFolder({ pulumi: pulumi.path, languageHost: host.path }, placesOf().tools);
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
