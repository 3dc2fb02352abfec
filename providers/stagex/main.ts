import packageJson from "../../package.json" with { type: "json" };
import { stagexProvider } from "./resources.ts";
import { serve } from "./serve.ts";

await serve(stagexProvider(packageJson.version));
