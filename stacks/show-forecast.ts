import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { all, type Resource } from "@pulumi/pulumi";
import { invoke, isDryRun } from "@pulumi/pulumi/runtime/index.js";
import { replaceFile } from "../lib/fs/atomic-write.ts";
import { printableBlock, printableJson } from "../lib/text/printable.ts";
import { forecastOutputs } from "../pipeline/forecast-outputs.ts";
import { logToEngine } from "./engine-log.ts";

/**
 * Shows, after a preview, what the run would build, for how long and why, and writes the same as JSON for programs. The provider knows
 * once the engine has asked it for every package, which is when all of them have their URN. Does nothing in a real run.
 *
 * It is no output of the stack: an `up` that is held to a saved plan must give the very outputs of the preview.
 * @param file for {@link ForecastOutputs}
 */
export function showForecast(packages: readonly Resource[], file: string): void {
  if (!isDryRun()) return;
  // The engine waits for what is applied, as for any output.
  all(packages.map(({ urn }) => urn)).apply(async () => {
    const found = forecastOutputs.parse(await invoke("stagex:index:forecast", {}));
    await logToEngine("info", printableBlock(found.text));
    await mkdir(dirname(file), { recursive: true });
    await replaceFile(file, `${printableJson(found)}\n`, { flush: false });
  });
}
