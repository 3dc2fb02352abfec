import { Command } from "commander";
import { pathsOf } from "../../lib/paths.ts";
import { engineEnvironment } from "../../tools/engine-environment.ts";
import { execProgram } from "../engine/exec.ts";
import { provideEngine } from "../engine/provide-engine.ts";

/** `stagex pulumi …`: runs the engine with all further arguments. */
export function pulumiCommand(): Command {
  return new Command("pulumi")
    .argument("[arguments...]", "as pulumi takes them")
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (args: string[]) => {
      const engine = await provideEngine(false);
      // It works on this project's stacks, wherever it is called.
      process.chdir(pathsOf().project);
      await execProgram(engine.pulumi, args, engineEnvironment(engine));
    });
}
