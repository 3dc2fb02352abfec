import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import type { Endpoint } from "../../buildkit/client/endpoint.ts";
import { BuildWorkspace, buildctl, listen } from "../support/builders/build-workspace.ts";
import { describeReal } from "../support/real-tools.ts";

/** Starts a registry that requires a password, and records the credentials that it was offered. */
async function closedRegistry(): Promise<{ port: number; offered: string[]; close(): void }> {
  const offered: string[] = [];
  const server = createServer(({ headers }, response) => {
    if (headers.authorization) offered.push(headers.authorization);
    response.writeHead(401, { "www-authenticate": 'Basic realm="closed"' }).end();
  });
  return { port: await listen(server), offered, close: () => server.close() };
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describeReal("a builder", () => {
  // The engine that docker:// addresses lead to can't be had here: a program in docker's place leads to a real daemon.
  test.each(["unix", "docker-container"])(
    "at %s:// is offered no credentials of the user's",
    async (scheme) => {
      await using closing = new AsyncDisposableStack();
      const bench = await BuildWorkspace.open();
      closing.defer(() => bench.close());
      const registry = await closedRegistry();
      closing.defer(() => registry.close());
      const { endpoint, use } = await bench.daemon();
      const dependency = await bench.build(endpoint, {
        containerfile: "FROM scratch\nCOPY Containerfile /f\n",
      });
      await bench.keep(dependency);

      const [config, bin] = [join(bench.folder, "docker"), join(bench.folder, "bin")];
      for (const folder of [config, bin]) await mkdir(folder);
      const auth = Buffer.from("user:password").toString("base64");
      await writeFile(
        join(config, "config.json"),
        JSON.stringify({ auths: { [`127.0.0.1:${registry.port}`]: { auth } } }),
      );
      const asked = join(bench.folder, "asked");
      const helper = `#!/bin/sh\necho "$1" >>${asked}\nprintf '{"Username":"user","Secret":"password"}'\n`;
      const programs = {
        docker: `#!/bin/sh\nexec ${buildctl()} --addr ${use.address} dial-stdio\n`,
        pass: "#!/bin/sh\n",
        "docker-credential-pass": helper,
        "docker-credential-secretservice": helper,
      };
      for (const [name, text] of Object.entries(programs)) {
        await writeFile(join(bin, name), text);
        await chmod(join(bin, name), 0o755);
      }
      vi.stubEnv("DOCKER_CONFIG", config);
      vi.stubEnv("PATH", `${bin}:${process.env.PATH}`);

      const own: Endpoint =
        scheme === "unix" ? endpoint : { ...endpoint, address: "docker-container://stagex" };
      const built = await bench.build(own, {
        containerfile: "FROM scratch\nCOPY --from=stagex/core-a /f /g\n",
        dependencies: { "core-a": dependency.index },
        repositories: { "core-a": `127.0.0.1:${registry.port}/stagex/core-a` },
      });
      expect(built.unpulled?.message).toMatch(/401|unauthorized|authorization/i);
      expect(registry.offered).toEqual([]);
      expect(await readFile(asked, "utf8").catch(() => "")).toBe("");
    },
  );
});
