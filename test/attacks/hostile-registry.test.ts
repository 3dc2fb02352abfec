import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { jsonLimit } from "../../oci/blob.ts";
import { digestOf } from "../../oci/digest.ts";
import { imageInRegistry } from "../../oci/registry/image-source.ts";
import { parseRegistryAddress } from "../../oci/registry/registry-address.ts";
import { RegistryClient } from "../../oci/registry/registry-client.ts";
import { RegistryError } from "../../oci/registry/registry-error.ts";
import { type RegistryLimits, registryLimits } from "../../oci/registry/registry-limits.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { dribbling, endless, hostileRegistry, listening } from "../support/servers/hostile-registry.ts";

/** The usual limits, with shorter times. */
const quick: RegistryLimits = {
  ...registryLimits,
  responseTimeout: 400,
  documentTimeout: 2_500,
  imageTimeout: 60_000,
};
const digest = digestOf("whatever");

describeReal("a hostile registry fails its own request alone", () => {
  async function problemOf(
    host: string,
    args: readonly string[],
    { limits = quick, limit = jsonLimit, size = 0 } = {},
  ): Promise<{ error: RegistryError; took: number }> {
    const client = new RegistryClient(realTool("registry-client"), limits);
    const [verb = "", ...rest] = args.map((arg) => arg.replace("HOST", host));
    const to = () => new Writable({ write: (_chunk, _encoding, done) => done() });
    const began = performance.now();
    const run = client.run([verb, ...rest], { action: "asking it", openOutput: to, limit, size });
    const error = await run.catch((thrown: unknown) => thrown);
    if (!(error instanceof RegistryError)) throw new Error(`it did not fail as it should: ${error}`);
    return { error, took: performance.now() - began };
  }

  test.each(["manifest HOST/a/b:latest", `manifest HOST/a/b@${digest}`, "tag HOST/a/b:latest other"])(
    "ends at an endless manifest: %s",
    async (command) => {
      const { listener, sent } = endless();
      const host = await hostileRegistry(listener);
      const { error } = await problemOf(host, command.split(" "));
      expect(error.problem).toBe("wrong-bytes");
      expect(error.message).toContain(`more than the ${jsonLimit} bytes`);
      // What lies in the buffers of both ends comes on top.
      expect(sent()).toBeLessThan(64 * 2 ** 20);
    },
  );

  test("an endless manifest does not fill the client's memory", async () => {
    const { listener } = endless();
    const host = await hostileRegistry(listener);
    // A limit far over the memory that it may take, so that only what it keeps is measured.
    const args = ["-bytes=4000000000", "blob", `${host}/a/b@${digest}`];
    const child = execFile(realTool("registry-client"), args, { encoding: "buffer", maxBuffer: 2 ** 40 });
    child.stdout?.resume();
    let peak = 0;
    let measured = 0;
    while (child.exitCode === null && child.signalCode === null) {
      const status = await readFile(`/proc/${child.pid}/status`, "utf8").catch(() => "");
      peak = Math.max(peak, Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1024);
      measured += 1;
      if (measured === 100) child.kill("SIGKILL");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(peak).toBeGreaterThan(1);
    expect(peak).toBeLessThan(200);
  });

  test("ends at endless headers", async () => {
    const host = await hostileRegistry(({ socket }) => {
      socket.write("HTTP/1.1 200 OK\r\n");
      const line = `x-more: ${"x".repeat(60_000)}\r\n`;
      let lines = 0;
      const timer = setInterval(() => {
        lines += 1;
        if (lines > 200 || socket.destroyed) clearInterval(timer);
        else socket.write(line);
      }, 5);
      socket.on("error", () => {});
    });
    const { error } = await problemOf(host, ["manifest", "HOST/a/b:latest"]);
    expect(error.message).toMatch(/headers exceeded/);
  });

  test.each([400, 401, 404, 500])("ends at an endless error %s", async (status) => {
    let sent = 0;
    const host = await hostileRegistry((_request, response) => {
      response.writeHead(status);
      const more = (): void => {
        if (response.destroyed || sent > 2 ** 30) return;
        sent += 2 ** 20;
        response.write(Buffer.alloc(2 ** 20, "x"), more);
      };
      more();
    });
    const { error } = await problemOf(host, ["manifest", "HOST/a/b:latest"], {
      limits: { ...quick, documentTimeout: 20_000, responseTimeout: 5_000 },
    });
    expect(error.problem).toBe({ 400: "failed", 401: "refused", 404: "absent", 500: "server-error" }[status]);
    expect(error.message.length).toBeLessThan(600);
    expect(sent).toBeLessThan(128 * 2 ** 20);
  });

  test("follows a redirect to itself a few times", async () => {
    let asked = 0;
    const host = await hostileRegistry((request, response) => {
      asked += 1;
      response.writeHead(307, { location: request.url ?? "" }).end();
    });
    for (const command of [`manifest HOST/a/b:latest`, `blob HOST/a/b@${digest}`, "delete HOST/a/b:latest"]) {
      asked = 0;
      const { error } = await problemOf(host, command.split(" "));
      expect(error.problem).toBe("unsafe");
      expect(error.message).toContain("redirects more than 5 times");
      expect(asked).toBe(6);
    }
  });

  test("ends late redirects without end at the command's timeout", async () => {
    const host = await hostileRegistry((request, response) => {
      setTimeout(() => response.writeHead(307, { location: request.url ?? "" }).end(), 300);
    });
    const limits = { ...quick, redirects: 1000 };
    const { error, took } = await problemOf(host, ["manifest", "HOST/a/b:latest"], { limits });
    expect(error.problem).toBe("cut-off");
    expect(took).toBeLessThan(8_000);
  });

  test("gives up a blob that comes byte by byte, on each attempt", async () => {
    const host = await hostileRegistry(dribbling(20));
    const options = { limit: 1_000_000, limits: { ...quick, minAverageRate: 1_000_000 } };
    const { error, took } = await problemOf(host, ["blob", `HOST/a/b@${digest}`], options);
    expect(error.problem).toBe("cut-off");
    expect(error.message).toMatch(/bytes a second|not done after/);
    expect(took).toBeLessThan(8_000);
  });

  test("ends a blob that is just fast enough at its timeout", async () => {
    const host = await hostileRegistry((_request, response) => {
      response.writeHead(200, { "content-length": 10_000_000 });
      const timer = setInterval(() => response.write(Buffer.alloc(2_000)), 50);
      response.on("close", () => clearInterval(timer));
    });
    const { error, took } = await problemOf(host, ["blob", `HOST/a/b@${digest}`], { limit: 10_000_000 });
    expect(error.problem).toBe("cut-off");
    expect(error.message).toContain("it was not done after");
    expect(took).toBeLessThan(8_000);
  });

  test("ends a request that is never answered", async () => {
    const host = await hostileRegistry(() => {});
    for (const command of ["manifest HOST/a/b:latest", `stat HOST/a/b ${digest}`, "delete HOST/a/b:latest"]) {
      const { error, took } = await problemOf(host, command.split(" "));
      expect(error.problem).toBe("cut-off");
      expect(took).toBeLessThan(10_000);
    }
  });

  test("all commands for one image share one timeout", async () => {
    const host = await hostileRegistry((_request, response) => setTimeout(() => response.end("{}"), 200));
    const repository = parseRegistryAddress(`${host}/a/b`);
    const limits = { ...quick, imageTimeout: 1_500 };
    const place = imageInRegistry(
      repository,
      { tag: "latest" },
      realTool("registry-client"),
      undefined,
      limits,
    );
    const began = performance.now();
    let failure: unknown;
    for (let asked = 0; asked < 100 && !/time for this image/.test(String(failure)); asked += 1) {
      failure = await place.readRoot().catch((error: unknown) => error);
    }
    expect(String(failure)).toContain("the time for this image was over");
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  test("reports 404 for everything as no registry, not as a missing tag", async () => {
    const host = await listening(createServer((_request, response) => response.writeHead(404).end("none")));
    const { error } = await problemOf(host, ["manifest", "HOST/a/b:latest"]);
    expect(error.problem).toBe("not-a-registry");
    expect(error.message).toContain("it answers 404 at /v2/");
  });
});
