import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { all, type Resource } from "@pulumi/pulumi";
import { invoke, isDryRun } from "@pulumi/pulumi/runtime/index.js";
import { replaceFile } from "../lib/fs/atomic-write.ts";
import { printableBlock, printableJson } from "../lib/text/printable.ts";
import { forecastOutputs } from "../pipeline/forecast-outputs.ts";
import { logToEngine } from "./engine-log.ts";

/**
 * Shows, after a preview, the images that the run would build, the time and the causes, and writes
 * the same as JSON. The provider knows this once the engine has asked it for every package, which
 * is when all of them have their URN. Does nothing in a real run.
 *
 * The forecast is no output of the stack: an `up` with a saved plan must return exactly the outputs
 * of the preview.
 * @param file for {@link ForecastOutputs}
 */
export function logForecast(packages: readonly Resource[], file: string): void {
  if (!isDryRun()) return;
  // The engine waits for this as for any output.
  all(packages.map(({ urn }) => urn)).apply(async () => {
    const found = forecastOutputs.parse(await invoke("stagex:index:forecast", {}));
    await logToEngine("info", printableBlock(found.text));
    await mkdir(dirname(file), { recursive: true });
    await replaceFile(file, `${printableJson(found)}\n`, { flush: false });
  });
}
