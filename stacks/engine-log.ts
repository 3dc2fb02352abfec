import { info, warn } from "@pulumi/pulumi/log/index.js";
import type { Printable } from "../lib/text/printable.ts";

/**
 * Shows a text in the engine's output. Stacks print only through this function, which takes only
 * escaped text.
 */
export async function logToEngine(severity: "info" | "warning", text: Printable): Promise<void> {
  await (severity === "info" ? info(text) : warn(text));
}
