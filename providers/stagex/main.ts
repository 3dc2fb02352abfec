import packageJson from "../../package.json" with { type: "json" };
import { stagexProvider } from "./provider.ts";
import { serve } from "./provider-process.ts";

await serve(stagexProvider(packageJson.version));
