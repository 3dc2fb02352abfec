import { info, warn } from "@pulumi/pulumi/log/index.js";
import type { Printable } from "../lib/text/printable.ts";

/** Shows a text in the engine's output. The stacks' one way there, which others' text can't take as it was written. */
export async function logToEngine(severity: "info" | "warning", text: Printable): Promise<void> {
  await (severity === "info" ? info(text) : warn(text));
}
