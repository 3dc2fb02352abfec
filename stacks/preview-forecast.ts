import { all, type Output, type Resource } from "@pulumi/pulumi";
import { invoke, isDryRun } from "@pulumi/pulumi/runtime/index.js";
import { printableBlock } from "../lib/printable.ts";
import { type ForecastOutputs, forecastOutputs } from "../providers/stagex/forecast/function.ts";
import { announce } from "./announce.ts";

/**
 * In a preview: what the run would build, for how long and why, shown after it and given as an output. The provider knows when the
 * engine has asked it for every package, which is when all of them have their URN. Undefined in a real run.
 */
export function previewForecast(packages: readonly Resource[]): Output<ForecastOutputs> | undefined {
  if (!isDryRun()) return undefined;
  return all(packages.map(({ urn }) => urn)).apply(async () => {
    const found = forecastOutputs.parse(await invoke("stagex:index:forecast", {}));
    await announce("info", printableBlock(found.text));
    return found;
  });
}
