import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { chooseDaemon, privateDaemonObstacle } from "../../../tools/daemon-choice.ts";
import { findDocker, parseBuilders } from "../../../tools/docker.ts";

const folder = mkdtempSync(join(tmpdir(), "buildkit-choice-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Makes a fake `docker` that answers as one with these builders: a test has no Docker daemon. */
function dockerWith(name: string, builders: readonly object[], server: object | null): NodeJS.ProcessEnv {
  const bin = mkdtempSync(join(folder, `${name}-`));
  const version = JSON.stringify({ Client: { Version: "29.1.5" }, Server: server });
  const lines = builders.map((builder) => JSON.stringify(builder)).join("\n");
  const script = `#!/bin/sh
case "$*" in
"version --format json") echo json ;; # as Docker 20 does
"version --format {{json .}}") printf '%s' '${version}' ; exit ${server === null ? 1 : 0} ;;
"buildx version") echo "github.com/docker/buildx v0.30.1 0123" ;;
"buildx ls --format json") printf '%s' '${lines}' ;;
"info --format {{json .DriverStatus}}") echo '[["driver-type","io.containerd.snapshotter.v1"]]' ;;
*) exit 1 ;;
esac
`;
  writeFileSync(join(bin, "docker"), script);
  chmodSync(join(bin, "docker"), 0o755);
  return { PATH: `${bin}:/usr/bin:/bin` };
}

const server = { Version: "29.1.5" };
const inDaemon = { Name: "default", Driver: "docker", Nodes: [{ Name: "default", Status: "running" }] };
const stopped = { Name: "old", Driver: "docker-container", Nodes: [{ Name: "old0", Status: "inactive" }] };
const running = { Name: "sx", Driver: "docker-container", Nodes: [{ Name: "sx0", Status: "running" }] };

test("needs Linux and root for a private daemon", () => {
  expect(privateDaemonObstacle("linux", 0)).toBeNull();
  expect(privateDaemonObstacle("linux", 1000)).toMatch(/root/);
  expect(privateDaemonObstacle("darwin", 501)).toMatch(/Linux only/);
});

test("prefers $BUILDKIT_HOST to a private daemon, and that to Docker", async () => {
  const docker = dockerWith("all", [running], server);
  const given = await chooseDaemon({ ...docker, BUILDKIT_HOST: "tcp://builder:1234" }, null);
  expect(given).toEqual({ kind: "given", address: "tcp://builder:1234" });
  expect(await chooseDaemon(docker, null)).toEqual({ kind: "private" });
});

test("takes a running Docker builder where no private daemon can run", async () => {
  const choice = await chooseDaemon(dockerWith("running", [inDaemon, stopped, running], server), "no root");
  expect(choice).toEqual({
    kind: "docker",
    name: "sx",
    address: "docker-container://buildx_buildkit_sx0",
    because: "no root",
  });
});

test.each([
  ["its builder stands still", [inDaemon, stopped], server, /--bootstrap old/],
  ["it has none in a container", [inDaemon], server, /docker buildx create/],
  ["its daemon is not there", [], null, /BUILDKIT_HOST/],
])("rejects Docker when %s, with a hint", async (_, builders, daemon, fix) => {
  const choice = chooseDaemon(dockerWith("unusable", builders, daemon), "no root");
  await expect(choice).rejects.toThrow(fix);
});

test("reports that docker is missing", async () => {
  expect(await findDocker({ PATH: folder })).toBeNull();
  await expect(chooseDaemon({ PATH: folder }, "no root")).rejects.toThrow(/no root.*there is no docker/);
});

test("ignores builders without nodes, and blank lines", () => {
  const text = `\n${JSON.stringify({ Name: "empty", Driver: "docker-container", Nodes: null })}\n\n`;
  expect(parseBuilders(text)).toEqual([]);
});
