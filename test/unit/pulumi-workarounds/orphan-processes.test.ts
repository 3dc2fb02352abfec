import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { terminateOrphans } from "../../../pulumi-workarounds/orphan-processes.ts";

function waiting(run: string) {
  return spawn(process.execPath, ["-e", "console.log(1); setInterval(() => {}, 1000)"], {
    env: { ...process.env, RUN_OF_TEST: run },
    stdio: ["ignore", "pipe", "ignore"],
  });
}

test.runIf(process.platform === "linux")("what one run left behind is ended, and nothing else", async () => {
  const [orphan, other] = [waiting("one"), waiting("one-more")];
  await Promise.all([once(orphan.stdout, "data"), once(other.stdout, "data")]);
  const ended = once(orphan, "exit");
  await terminateOrphans("RUN_OF_TEST", "one");
  expect(await ended).toEqual([null, "SIGTERM"]);
  await sleep(50);
  expect(other.exitCode ?? other.signalCode).toBe(null);
  other.kill("SIGKILL");
});
