import { execFileSync } from "node:child_process";
import { chmod, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { join } from "node:path";
import { Writable } from "node:stream";
import { afterEach, expect, test } from "vitest";
import { jsonLimit } from "../../oci/blob.ts";
import { digestOf } from "../../oci/digest.ts";
import { RegistryClient } from "../../oci/registry/registry-client.ts";
import { RegistryError } from "../../oci/registry/registry-error.ts";
import { type RegistryLimits, registryLimits } from "../../oci/registry/registry-limits.ts";
import { pinnedTools } from "../../tools/pinned-tools.ts";
import { pinnedVersion } from "../../tools/tool-folder.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";
import { selfSigned } from "../support/builders/self-signed.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { hostileRegistry, listening } from "../support/servers/hostile-registry.ts";

const digest = digestOf("{}");

describeReal("the registry client names what goes wrong", () => {
  const before = { ...process.env };
  afterEach(() => {
    process.env = { ...before };
  });

  async function failure(address: string, limits: RegistryLimits = registryLimits): Promise<RegistryError> {
    const client = new RegistryClient(realTool("registry-client"), limits);
    const to = () => new Writable({ write: (_chunk, _encoding, done) => done() });
    const args = ["manifest", `${address}/a/b@${digest}`];
    const error = await client
      .run(args, { action: "asking", openOutput: to, limit: jsonLimit })
      .catch((thrown) => thrown);
    if (error instanceof RegistryError) return error;
    throw new Error(`it did not fail: ${error}`);
  }

  async function failureOf(
    status: number,
    body: string,
    headers: Record<string, string> = {},
  ): Promise<RegistryError> {
    return await failure(
      await hostileRegistry((_request, response) => response.writeHead(status, headers).end(body)),
    );
  }

  const said = (code: string) => JSON.stringify({ errors: [{ code, message: "in its words" }] });

  test.each([
    [401, said("UNAUTHORIZED"), "refused"],
    [403, said("DENIED"), "refused"],
    [404, said("MANIFEST_UNKNOWN"), "absent"],
    [404, said("NAME_UNKNOWN"), "absent"],
    [400, said("NAME_INVALID"), "absent"],
    [404, "", "absent"],
    [400, "what?", "failed"],
    [302, "", "failed"],
  ])("%i %s", async (status, body, problem) => {
    const error = await failureOf(status, body);
    expect(error).toMatchObject({ problem, isTransient: false, retryAfter: null });
    expect(error.message).toMatch(new RegExp(`^asking: ${problem}: `));
    if (body.includes("words")) expect(error.message).toContain("in its words");
  });

  test("a registry that is overloaded asks for a time: in seconds, or until a date", async () => {
    const until = new Date(Date.now() + 60_000).toUTCString();
    for (const [header, least, most] of [["7", 7, 7] as const, [until, 40, 61] as const]) {
      const error = await failureOf(429, said("TOOMANYREQUESTS"), { "retry-after": header });
      expect(error).toMatchObject({ problem: "overloaded", isTransient: true });
      expect(error.retryAfter).toBeGreaterThanOrEqual(least);
      expect(error.retryAfter).toBeLessThanOrEqual(most);
    }
    const never = await failureOf(429, said("TOOMANYREQUESTS"), { "retry-after": "soon" });
    expect(never.retryAfter).toBeNull();
  });

  test("nobody there may pass; a name or a certificate that is wrong does not", async () => {
    expect(await failure("127.0.0.1:1")).toMatchObject({ problem: "unreachable", isTransient: true });
    const silent = await listening(createServer(() => {}));
    const limits = { ...registryLimits, responseTimeout: 500 };
    expect(await failure(silent, limits)).toMatchObject({ problem: "unreachable", isTransient: true });
    expect(await failure("no-such-host.invalid")).toMatchObject({
      problem: "unreachable",
      isTransient: false,
    });
    const { key, cert } = selfSigned();
    const address = await listening(
      createSecureServer({ key, cert }, (_request, response) => response.end("{}")),
    );
    const error = await failure(address);
    expect(error).toMatchObject({ problem: "unreachable", isTransient: false });
  });

  test("a credential helper that hangs ends with the command", async () => {
    const folder = await scratchFolder();
    await writeFile(join(folder, "config.json"), JSON.stringify({ credsStore: "hanging" }));
    await writeFile(join(folder, "docker-credential-hanging"), "#!/bin/sh\nexec sleep 30\n");
    await chmod(join(folder, "docker-credential-hanging"), 0o755);
    process.env.DOCKER_CONFIG = folder;
    process.env.PATH = `${folder}:${process.env.PATH}`;
    const address = await hostileRegistry((_request, response) => response.end("{}"));
    const began = performance.now();
    const error = await failure(address, { ...registryLimits, documentTimeout: 1_000 });
    expect(error.problem).toBe("cut-off");
    expect(error.message).toContain("it was not done after 1");
    expect(performance.now() - began).toBeLessThan(15_000);
  });

  test("it says its version, and how it is used", async () => {
    const program = realTool("registry-client");
    const version = await pinnedVersion(pinnedTools["registry-client"]);
    expect(execFileSync(program, ["version"], { encoding: "utf8" }).trim()).toBe(version);
    expect(() => execFileSync(program, ["dance"], { stdio: "pipe" })).toThrow(
      /registry-client \[flags\] manifest/,
    );
  });
});
