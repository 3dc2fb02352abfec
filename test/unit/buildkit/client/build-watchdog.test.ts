import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Heartbeat, withWatchdog } from "../../../../buildkit/client/build-watchdog.ts";
import type { Endpoint } from "../../../../buildkit/client/endpoint.ts";
import { BuilderLostError } from "../../../../buildkit/scheduler/scheduler-errors.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const never = new AbortController().signal;
const worker = {
  platforms: [{ os: "linux", architecture: "amd64" }],
  buildkitVersion: { version: "v0.34.2" },
};

/** An endpoint whose buildctl answers, or fails with this message after some seconds. */
async function daemon(failure?: string, after = 0): Promise<Endpoint> {
  const buildctl = join(await scratchFolder(), "buildctl");
  const answer =
    failure === undefined
      ? `echo '${JSON.stringify([worker])}'`
      : `sleep ${after}; echo '${failure}' >&2; exit 1`;
  await writeFile(buildctl, `#!/bin/sh\n${answer}\n`, { mode: 0o755 });
  return { address: "tcp://192.0.2.1:1234", buildctl };
}

/** Does work that ends only by its signal. */
function hanging(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}

test("returns the result of work with heartbeats", async () => {
  const rules = { stall: 0.5, pulse: 0.05 };
  const result = await withWatchdog(
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

test("ends work without a heartbeat as lost with its builder", async () => {
  const watched = withWatchdog(await daemon(), { stall: 0.2, pulse: 60 }, hanging, never);
  await expect(watched).rejects.toThrow(BuilderLostError);
  await expect(watched).rejects.toThrow(/no output for.*stagex:stall/);
});

test("gives up a builder that stops answering, with the reason", async () => {
  const gone = await daemon("error: dial tcp 192.0.2.1:1234: i/o timeout");
  const watched = withWatchdog(gone, { stall: 60, pulse: 0.02, misses: 2 }, hanging, never);
  await expect(watched).rejects.toThrow(BuilderLostError);
  await expect(watched).rejects.toThrow(/no packet comes back/);
});

test("keeps a builder that answers late while its work gives heartbeats", async () => {
  const busy = await daemon("error: dial tcp 192.0.2.1:1234: i/o timeout", 0.2);
  const rules = { stall: 60, pulse: 0.1, misses: 2 };
  const result = await withWatchdog(
    busy,
    rules,
    async (signal, stir) => {
      for (let step = 0; step < 40 && !signal.aborted; step++) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        stir();
      }
      return signal.aborted ? "given up" : "done";
    },
    never,
  );
  expect(result).toBe("done");
});

test("keeps a builder that now refuses our certificate: its build has a connection", async () => {
  const expired = await daemon(
    "error: tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2030-01-02T00:00:00Z is after 2030-01-01T00:00:00Z",
  );
  const work = () => new Promise<string>((resolve) => setTimeout(() => resolve("done"), 1000));
  expect(await withWatchdog(expired, { stall: 60, pulse: 0.05, misses: 2 }, work, never)).toBe("done");
});

test.each([
  [0, "its own connection must be dead"],
  [1, "it may be ours"],
])("asks the builder of a quiet build for its number of builds: %d, %s", async (builds) => {
  const buildctl = join(await scratchFolder(), "buildctl");
  const answer = `case "$*" in *histories*) ${builds > 0 ? "echo STARTED" : "echo COMPLETE"} ;; *) echo '${JSON.stringify([worker])}' ;; esac`;
  await writeFile(buildctl, `#!/bin/sh\n${answer}\n`, { mode: 0o755 });
  const work = (signal: AbortSignal) =>
    Promise.race([
      hanging(signal),
      new Promise<string>((resolve) => setTimeout(() => resolve("done"), 2500)),
    ]);
  const endpoint = { address: "tcp://192.0.2.1:1234", buildctl };
  const watched = withWatchdog(endpoint, { stall: 60, pulse: 0.05, misses: 2 }, work, never);
  if (builds > 0) expect(await watched).toBe("done");
  else await expect(watched).rejects.toThrow(/no build of ours any more/);
});

test("lets delivered work finish without its builder and without heartbeats", async () => {
  const gone = await daemon("error: dial tcp 192.0.2.1:1234: connect: connection refused");
  const rules = { stall: 0.3, pulse: 0.05, misses: 2 };
  const storing = async (signal: AbortSignal, stir: Heartbeat) => {
    stir("delivered");
    return await Promise.race([
      hanging(signal),
      new Promise<string>((resolve) => setTimeout(() => resolve("stored"), 1000)),
    ]);
  };
  expect(await withWatchdog(gone, rules, storing, never)).toBe("stored");
});

test("rejects with the reason of a cancellation", async () => {
  const cancelled = AbortSignal.timeout(100);
  const watched = withWatchdog(await daemon(), { stall: 60, pulse: 60 }, hanging, cancelled);
  await expect(watched).rejects.toThrow(/timeout/);
  await expect(watched).rejects.not.toThrow(BuilderLostError);
});
