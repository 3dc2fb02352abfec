import packageJson from "../../package.json" with { type: "json" };
import { stagexProvider } from "./provider.ts";
import { serveProvider } from "./provider-process.ts";

await serveProvider(stagexProvider(packageJson.version));
