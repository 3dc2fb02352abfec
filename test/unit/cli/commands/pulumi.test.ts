import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test, vi } from "vitest";
import { provideEngine } from "../../../../cli/engine/provide-engine.ts";

/** Programs that tell their version, which is all that is asked of them here. */
const bin = mkdtempSync(join(tmpdir(), "stagex-pulumi-"));
for (const [name, version] of Object.entries({
  pulumi: "v3.256.0",
  "pulumi-language-nodejs": "",
  buildctl: "buildctl github.com/moby/buildkit v0.34.2",
})) {
  writeFileSync(join(bin, name), `#!/bin/sh\necho '${version}'\n`);
  chmodSync(join(bin, name), 0o755);
}
afterAll(() => rmSync(bin, { recursive: true }));
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

/** A user who is not root, without Docker and without a BuildKit elsewhere. */
function asPlainUser(): { said: () => string } {
  vi.stubEnv("PATH", bin);
  vi.stubEnv("STAGEX_CACHE", join(bin, "cache"));
  vi.stubEnv("BUILDKIT_HOST", undefined);
  vi.spyOn(process, "getuid").mockReturnValue(1000);
  const stderr = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  return { said: () => stderr.mock.calls.join("") };
}

test("provides an engine without a BuildKit, with the reason why nothing can be built", async () => {
  const { said } = asPlainUser();
  expect(await provideEngine(false)).toEqual({
    pulumi: join(bin, "pulumi"),
    languageHost: join(bin, "pulumi-language-nodejs"),
  });
  expect(said()).toMatch(/no image can be built from here: .*root[\s\S]*to fix it: .*BUILDKIT_HOST/);
});

test("refuses at once to build on a machine that can't", async () => {
  asPlainUser();
  await expect(provideEngine(true)).rejects.toThrow(/needs root/);
});
