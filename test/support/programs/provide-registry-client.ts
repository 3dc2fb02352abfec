/** Sets up the registry client as any command of ours would; a program of its own, so that a test can kill it. */
import { provideTools } from "../../../tools/tool-resolver.ts";

const tools = await provideTools(["registry-client"]);
process.stdout.write(`${tools.get("registry-client")?.path}\n`);
