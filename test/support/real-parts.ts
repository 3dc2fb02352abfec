import type { TestProject } from "vitest/node";
import type { ToolName } from "../../tools/pinned-tools.ts";
import { SetUpError } from "../../tools/set-up-error.ts";
import { provideTools, testTools } from "../../tools/tool-resolver.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /**
     * Absolute paths of the tools by name, or the reason why they are missing. See
     * test/support/real-tools.ts.
     */
    tools: Readonly<Partial<Record<ToolName, string>>> | { readonly missing: string };
  }
}

/**
 * Sets up the real engine and the real BuildKit for the tests that use them. Without them these
 * tests are skipped, with the reason on the terminal; under CI that is a failure.
 */
export async function setup(project: TestProject): Promise<void> {
  try {
    const tools = await provideTools(testTools);
    project.provide("tools", Object.fromEntries([...tools].map(([name, { path }]) => [name, path])));
  } catch (error) {
    if (!(error instanceof SetUpError) || process.env.CI) throw error;
    process.stderr.write(`SKIPPED: the tests of project ${project.name}, for ${error.message}\n`);
    project.provide("tools", { missing: error.message });
  }
}
