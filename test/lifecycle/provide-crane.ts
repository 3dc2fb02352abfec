/** Sets up crane as any command of ours would; a program of its own, so that a test can kill it. */
import { provideTools } from "../../tools/toolbox.ts";

const tools = await provideTools(["crane"]);
process.stdout.write(`${tools.get("crane")?.path}\n`);
