/** Sets up the registry client as the stagex command does, in a process that a test can kill. */
import { provideTools } from "../../../tools/tool-resolver.ts";

const tools = await provideTools(["registry-client"]);
process.stdout.write(`${tools.get("registry-client")?.path}\n`);
