import { writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { Writable } from "node:stream";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { queryDaemon } from "../../../buildkit/client/daemon-query.ts";
import { Scheduler } from "../../../buildkit/scheduler/scheduler.ts";
import { logCommand, logDebug } from "../../../lib/debug-log.ts";
import { RegistryClient } from "../../../oci/registry/registry-client.ts";
import { parseFingerprint } from "../../../trust/openpgp/fingerprint.ts";
import { exportKeyringFromGpg } from "../../../trust/openpgp/signing-key.ts";
import { scratchFolder } from "../../support/builders/scratch-folder.ts";

const secrets = {
  PULUMI_CONFIG_PASSPHRASE: "open-sesame",
  AWS_SECRET_ACCESS_KEY: "abc123",
  NPM_TOKEN: "npm_42",
};
let written = "";

beforeEach(() => {
  written = "";
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    written += String(text);
    return true;
  });
  vi.stubEnv("STAGEX_DEBUG", "1");
  for (const [name, value] of Object.entries(secrets)) vi.stubEnv(name, value);
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

test("writes nothing unless STAGEX_DEBUG is 1", () => {
  vi.stubEnv("STAGEX_DEBUG", "0");
  logDebug("scheduler", "x");
  logCommand("/bin/buildctl", ["build"]);
  expect(written).toBe("");
});

test("writes a command line as a shell takes it, on one line", () => {
  logCommand("/bin/buildctl", ["build", "--opt", "a=b c", "x\ny"]);
  expect(written).toBe("debug buildctl: /bin/buildctl build --opt 'a=b c' 'x\\u000ay'\n");
});

test.each([
  "https://user:hunter2@registry.example/v2/",
  "tcp://hunter2@builder.example:1234",
  "https://user:p@hunter2@registry.example",
  "https://mirror.example/file?X-Amz-Signature=hunter2",
  "build-arg:NPM_TOKEN=hunter2",
  "--password=hunter2",
  "--passphrase:hunter2",
  "Authorization: Bearer hunter2",
  "AWS_SECRET_ACCESS_KEY=hunter2",
])("hides the secret in %s", (argument) => {
  logCommand("program", ["--password", "hunter2", argument]);
  expect(written).toContain("…");
  expect(written).not.toContain("hunter2");
});

test("shows the commands of buildctl, gpg and the registry client without a secret of the environment", async () => {
  const folder = await scratchFolder();
  for (const name of ["buildctl", "gpg", "registry-client"])
    await writeFile(join(folder, name), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
  vi.stubEnv("PATH", `${folder}${delimiter}${process.env.PATH}`);
  await queryDaemon({ address: "tcp://127.0.0.1:1", buildctl: join(folder, "buildctl") }).catch(() => {});
  await exportKeyringFromGpg(parseFingerprint("0123456789ABCDEF0123456789ABCDEF01234567")).catch(() => {});
  const openOutput = () => new Writable({ write: (_chunk, _encoding, done) => done() });
  await new RegistryClient(join(folder, "registry-client"))
    .run(["manifest", "registry.example/stagex/core-sh"], { action: "asking", openOutput, limit: 10 })
    .catch(() => {});
  expect(written).toMatch(/debug buildctl: .*--addr tcp:\/\/127\.0\.0\.1:1 .*debug workers/);
  expect(written).toMatch(/debug gpg: gpg --batch --no-armor --export 0123/);
  expect(written).toMatch(/debug registry-client: .* manifest registry\.example\/stagex\/core-sh/);
  for (const secret of Object.values(secrets)) expect(written).not.toContain(secret);
});

test("explains why a job starts on a builder, and why one waits", async () => {
  const builder = { name: "west", platforms: ["linux/amd64"], slots: 1 };
  const scheduler = new Scheduler([builder]);
  const job = (image: string, remaining: number) => ({
    ...{ key: image, image, platforms: ["linux/amd64"], seconds: 5, remaining, inputs: [] },
  });
  const signal = new AbortController().signal;
  await Promise.all(
    [job("core-short", 5), job("core-long", 50)].map((each) => scheduler.run(each, async () => {}, signal)),
  );
  const lines = written.split("\n");
  expect(lines[0]).toMatch(
    /core-long starts on west: 0 of 1 slots: its remaining path is 50 s, 1 other jobs? wait/,
  );
  expect(lines[1]).toBe("debug scheduler: core-short waits: no builder has room: west: 1 of 1 slots");
  expect(lines[2]).toMatch(/core-short starts on west/);
});
