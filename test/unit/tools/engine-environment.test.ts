import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { engineEnvironment, engineRequirements } from "../../../tools/engine-environment.ts";

const programs = { pulumi: "/tools/engine/pulumi", languageHost: "/tools/host/pulumi-language-nodejs" };

test("puts the Node that runs TypeScript first on PATH, then the language host and the engine", () => {
  const { PATH = "" } = engineEnvironment(programs, { PATH: "/usr/bin:/tools/host:/bin" });
  const [node = "", ...rest] = PATH.split(":");
  expect(existsSync(join(node, "node"))).toBe(true);
  expect(rest).toEqual(["/tools/host", "/tools/engine", "/usr/bin", "/bin"]);
});

test("sets an empty passphrase where the user has none, and keeps the user's otherwise", () => {
  expect(engineEnvironment(programs, {}).PULUMI_CONFIG_PASSPHRASE).toBe("");
  expect(engineEnvironment(programs, { PULUMI_CONFIG_PASSPHRASE: "mine" }).PULUMI_CONFIG_PASSPHRASE).toBe(
    "mine",
  );
  const file = { PULUMI_CONFIG_PASSPHRASE_FILE: "/home/me/passphrase" };
  expect(engineRequirements(programs, file).variables).not.toHaveProperty("PULUMI_CONFIG_PASSPHRASE");
});

test("keeps the user's own settings of the engine", () => {
  const own = {
    PULUMI_HOME: "/home/me/.pulumi",
    PULUMI_BACKEND_URL: "s3://bucket",
    HTTPS_PROXY: "http://proxy:1",
  };
  expect(engineEnvironment(programs, own)).toMatchObject(own);
});

test("exempts this machine's addresses from a proxy for gRPC", () => {
  const noProxy = (environment: NodeJS.ProcessEnv) =>
    engineRequirements(programs, environment).variables.no_grpc_proxy;
  const https_proxy = "http://proxy.test:3128";
  expect(noProxy({})).toBeUndefined();
  expect(noProxy({ https_proxy })).toBe("127.0.0.1,localhost");
  expect(noProxy({ https_proxy, no_proxy: "a.test,localhost" })).toBe("a.test,localhost,127.0.0.1");
  expect(noProxy({ https_proxy, no_proxy: "a.test", no_grpc_proxy: "b.test" })).toBe(
    "b.test,127.0.0.1,localhost",
  );
});

test("passes the found daemon to a plain pulumi", () => {
  const address = "docker-container://buildx_buildkit_sx0";
  expect(engineRequirements(programs, { BUILDKIT_HOST: address }).variables.BUILDKIT_HOST).toBe(address);
  expect(engineRequirements(programs, {}).variables).not.toHaveProperty("BUILDKIT_HOST");
});
