import { createHash } from "node:crypto";
import { once } from "node:events";
import { cp, mkdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo, Server } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { Project } from "../support/builders/project.ts";
import { selfSigned } from "../support/builders/self-signed.ts";
import { packageFiles, writeInto } from "../support/builders/written-tree.ts";
import { describeReal } from "../support/real-tools.ts";
import { startProxy } from "../support/servers/connect-proxy.ts";

const authority = selfSigned("*.mirrors.test");
const contentOf = (name: string) => `the source of ${name}\n`;
const sha256Of = (name: string) => createHash("sha256").update(contentOf(name)).digest("hex");

/** Returns the files of a package whose image is its one source. */
function packageOf(name: string, ...mirrors: string[]): Record<string, string> {
  const urls = JSON.stringify(mirrors.map((mirror) => `${mirror}/${name}.txt`));
  const toml = `version = "1.0"\n[sources.it]\nhash = "${sha256Of(name)}"\nmirrors = ${urls}\n`;
  return packageFiles(`user/${name}`, { toml, containerfile: `FROM scratch\nADD fetch/${name}.txt /it\n` });
}

const names = ["plain", "redirecting", "dead"];

async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

describeReal("sources on their way into a build", () => {
  let project: Project;

  beforeAll(async () => {
    project = await Project.create();
    writeInto(project.tree, {
      ...packageOf("plain", "http://plain.mirrors.test"),
      ...packageOf("redirecting", "https://redirecting.mirrors.test"),
      ...packageOf("dead", "http://dead.mirrors.test", "file:///srv", "http://plain.mirrors.test"),
    });
    await project.commit("Three packages with mirrors");
    await project.set("images", JSON.stringify(names));
    await project.set("sources", '{"softwareHeritage":false}');
  });

  afterAll(async () => {
    await project[Symbol.asyncDispose]();
  });

  test("mirrors on http alone, redirecting to http and dead ones, each under its own name behind a proxy", async () => {
    const plain = await listening(
      createServer(({ url = "" }, response) => void response.end(contentOf(url.slice(1, -".txt".length)))),
    );
    const redirecting = await listening(
      createSecureServer(authority, ({ url }, response) =>
        response.writeHead(302, { location: `http://plain.mirrors.test${url}` }).end(),
      ),
    );
    const proxy = await startProxy({
      "plain.mirrors.test:80": plain,
      "redirecting.mirrors.test:443": redirecting,
    });
    await writeFile(join(project.folder, "ca.pem"), authority.cert);
    const { code, output, built } = await project.up([], {
      ...{ HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url, NO_PROXY: "" },
      NODE_EXTRA_CA_CERTS: join(project.folder, "ca.pem"),
    });
    expect(code, output).toBe(0);
    expect(built).toEqual(names.map((name) => `user-${name}`).sort());
    expect(output).not.toContain("s3cret");
    expect(proxy.asked).toContain("CONNECT plain.mirrors.test:443");
    expect(proxy.asked).toContain("GET http://plain.mirrors.test/redirecting.txt");
  });

  test("with every mirror gone a vault gives them, and what no place has is named", async () => {
    const folder = (name: string) => join(project.folder, "vault/sha256", sha256Of(name).slice(0, 2));
    for (const name of ["plain", "redirecting"]) {
      await mkdir(folder(name), { recursive: true });
      const cached = join(project.folder, "cache/sources/sha256", sha256Of(name));
      await cp(cached, join(folder(name), sha256Of(name)));
    }
    await rm(join(project.folder, "cache/sources"), { recursive: true, force: true });
    await project.set("vault", '[{"folder":"vault"}]');
    for (const name of names)
      await project.edit(`packages/user/${name}/Containerfile`, (text) => `${text}COPY package.toml /\n`);
    const { code, output, built } = await project.up(["--continue-on-error"]);
    expect(code).not.toBe(0);
    expect(built).toEqual(["user-plain", "user-redirecting"]);
    expect(output).toContain(`(dead.txt) can't be obtained; expected sha256 ${sha256Of("dead")}`);
    expect(output).toContain("does not have it");
  });
});
