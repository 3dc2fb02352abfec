import { allConfig } from "@pulumi/pulumi/runtime/index.js";
import { parseConfig, type StagexConfig } from "../config/schema.ts";

/**
 * Reads the `stagex:` configuration of this stack.
 * @throws Error that names every key that is wrong
 */
export function readStackConfig(): StagexConfig {
  const prefix = "stagex:";
  const keys = Object.entries(allConfig() ?? {}).filter(([key]) => key.startsWith(prefix));
  return parseConfig(Object.fromEntries(keys.map(([key, value]) => [key.slice(prefix.length), value])));
}
