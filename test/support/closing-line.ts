import type { Reporter, SerializedError, TestModule } from "vitest/node";

/**
 * Prints the last line of a test run, for people and CI to read: `N passed, N failed`, and the
 * number of skipped tests.
 */
export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const count = (state: "passed" | "failed" | "skipped"): number =>
      tests.filter((test) => test.result().state === state).length;
    // A file that fails to load has no tests that could fail, and a stray error belongs to none.
    const failed = count("failed") + modules.flatMap((module) => module.errors()).length + errors.length;
    const skipped = count("skipped");
    if (skipped > 0 && process.env.CI) {
      process.stdout.write("Nothing may be skipped under CI: what was skipped counts as failed.\n");
      process.exitCode = 1;
      process.stdout.write(`${count("passed")} passed, ${failed + skipped} failed\n`);
      return;
    }
    process.stdout.write(
      `${count("passed")} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`,
    );
  }
}
