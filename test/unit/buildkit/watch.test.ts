import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { BuilderLost } from "../../../buildkit/builder-lost.ts";
import type { Endpoint } from "../../../buildkit/endpoint.ts";
import { whileWatched } from "../../../buildkit/watch.ts";
import { scratchFolder } from "../../fixtures/scratch-folder.ts";

const never = new AbortController().signal;
const worker = {
  platforms: [{ os: "linux", architecture: "amd64" }],
  buildkitVersion: { version: "v0.34.2" },
};

/** A daemon as buildctl tells of it: one that answers, or says these words and fails. */
async function daemon(failure?: string): Promise<Endpoint> {
  const buildctl = join(await scratchFolder(), "buildctl");
  const answer =
    failure === undefined ? `echo '${JSON.stringify([worker])}'` : `echo '${failure}' >&2; exit 1`;
  await writeFile(buildctl, `#!/bin/sh\n${answer}\n`, { mode: 0o755 });
  return { address: "tcp://192.0.2.1:1234", buildctl };
}

/** Work that only a signal ends. */
function hanging(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}

test("work that goes on is let go on, and gives its result", async () => {
  const rules = { stall: 0.5, pulse: 0.05 };
  const result = await whileWatched(
    await daemon(),
    rules,
    async (_, stir) => {
      for (let step = 0; step < 10; step++) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        stir();
      }
      return "done";
    },
    never,
  );
  expect(result).toBe("done");
});

test("work without a sign of life ends, and the builder is to blame", async () => {
  const watched = whileWatched(await daemon(), { stall: 0.2, pulse: 60 }, hanging, never);
  await expect(watched).rejects.toThrow(BuilderLost);
  await expect(watched).rejects.toThrow(/nothing has stirred.*stagex:stall/);
});

test("a builder that answers no longer is given up, with the reason", async () => {
  const gone = await daemon("error: dial tcp 192.0.2.1:1234: i/o timeout");
  const watched = whileWatched(gone, { stall: 60, pulse: 0.02, misses: 2 }, hanging, never);
  await expect(watched).rejects.toThrow(BuilderLost);
  await expect(watched).rejects.toThrow(/no packet comes back/);
});

test("who cancels gets his own reason", async () => {
  const cancelled = AbortSignal.timeout(100);
  const watched = whileWatched(await daemon(), { stall: 60, pulse: 60 }, hanging, cancelled);
  await expect(watched).rejects.toThrow(/timeout/);
  await expect(watched).rejects.not.toThrow(BuilderLost);
});
