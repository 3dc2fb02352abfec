import { describe, inject } from "vitest";
import type { ToolName } from "../../tools/pinned-tools.ts";

const provided = inject("tools");

/** `describe`, or `describe.skip` on a machine without the real tools. CI always has them. */
export const describeReal: typeof describe.skip = "missing" in provided ? describe.skip : describe;

/** Returns the path of a real tool; only for use in tests below {@link describeReal}. */
export function realTool(name: ToolName): string {
  const path = "missing" in provided ? undefined : provided[name];
  if (path === undefined) throw new Error(`test/support/real-parts.ts provides no ${name}`);
  return path;
}
