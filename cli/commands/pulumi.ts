import { Command } from "commander";
import { pathsOf } from "../../lib/paths.ts";
import { engineEnvironment } from "../../tools/engine-environment.ts";
import { execProgram } from "../engine/exec.ts";
import { provideEngine } from "../engine/provide-engine.ts";

/** `stagex pulumi …`: everything after it is the engine's. */
export function pulumiCommand(): Command {
  return new Command("pulumi")
    .argument("[arguments...]", "as pulumi takes them")
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (args: string[]) => {
      const engine = await provideEngine(false);
      // Wherever it is called from, it is this project's stacks that it works on.
      process.chdir(pathsOf().project);
      await execProgram(engine.pulumi, args, engineEnvironment(engine));
    });
}
