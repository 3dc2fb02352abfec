import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import {
  clientEnvironment,
  prepareBuildEnvironment,
} from "../../../../buildkit/client/client-environment.ts";
import { parseEndpoint } from "../../../../buildkit/client/endpoint.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

afterEach(() => {
  vi.unstubAllEnvs();
});

const at = (address: string) => parseEndpoint({ address, buildctl: "b" });

test("passes buildctl no secret and no epoch, and only the variables that its helper needs", () => {
  vi.stubEnv("SOURCE_DATE_EPOCH", "5");
  vi.stubEnv("PULUMI_CONFIG_PASSPHRASE", "secret");
  vi.stubEnv("HOME", "/home/user");
  vi.stubEnv("DOCKER_CONFIG", "/home/user/.docker");
  vi.stubEnv("KUBECONFIG", "/home/user/.kube/config");
  const names = (address: string) =>
    Object.keys(clientEnvironment(at(address))).filter((name) => !["PATH", "TMPDIR"].includes(name));
  expect(names("unix:///a")).toEqual([]);
  expect(names("tcp://a:1")).toEqual([]);
  expect(names("ssh://a")).not.toContain("DOCKER_CONFIG");
  expect(names("kube-pod://a")).toEqual(expect.arrayContaining(["HOME", "KUBECONFIG"]));
  expect(names("docker-container://a")).toEqual(expect.arrayContaining(["HOME", "DOCKER_CONFIG"]));
});

test("gives a build a Docker configuration without credentials that still finds the engine", async () => {
  const folder = await scratchFolder();
  const own = join(folder, "own");
  await mkdir(join(own, "contexts/meta"), { recursive: true });
  await writeFile(join(own, "contexts/meta/x"), "far");
  const secret = { auths: { "registry.example": { auth: "dXNlcjpwYXNz" } }, credsStore: "desktop" };
  await writeFile(join(own, "config.json"), JSON.stringify({ ...secret, currentContext: "far" }));
  vi.stubEnv("DOCKER_CONFIG", own);
  vi.stubEnv("DOCKER_TLS_VERIFY", "1");
  vi.stubEnv("DOCKER_CERT_PATH", undefined);
  for (const address of ["unix:///a", "docker-container://a", "docker-container://a"]) {
    const { DOCKER_CONFIG: made = "", DOCKER_CERT_PATH: certificates } = await prepareBuildEnvironment(
      at(address),
      folder,
    );
    expect(made).not.toBe(own);
    const isDocker = address.startsWith("docker");
    expect(JSON.parse(await readFile(join(made, "config.json"), "utf8"))).toEqual({
      // With no registry at all, Docker's library asks the system's credential helper.
      auths: { "none.invalid": {} },
      ...(isDocker ? { currentContext: "far" } : {}),
    });
    const context = await readFile(join(made, "contexts/meta/x"), "utf8").catch(() => undefined);
    expect(context).toBe(isDocker ? "far" : undefined);
    expect(certificates).toBe(isDocker ? own : undefined);
  }
});
