import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type RegistryServer, serveRegistry } from "../../cli/rehearsal/registry-server.ts";
import { projectRoot } from "../../lib/paths.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";
import { describeReal, realTool } from "../support/real-tools.ts";

async function isServing({ host }: { host: string }): Promise<boolean> {
  return (await fetch(`http://${host}/v2/`).catch(() => undefined))?.ok === true;
}

async function serving(folder: string): Promise<RegistryServer> {
  const server = await serveRegistry(folder, realTool("registry"));
  onTestFinished(() => server.close());
  return server;
}

/** Serves the same folder from another process, until it receives SIGTERM or is killed. */
async function servingElsewhere(folder: string) {
  const program = `
    import { serveRegistry } from ${JSON.stringify(join(projectRoot, "cli/rehearsal/registry-server.ts"))};
    const server = await serveRegistry(${JSON.stringify(folder)}, ${JSON.stringify(realTool("registry"))});
    process.on("SIGTERM", async () => { await server.close(); process.exit(); });
    setInterval(() => {}, 1000);
    console.log(server.host);`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [host] = (await once(child.stdout, "data")) as [Buffer];
  return { child, host: String(host).trim() };
}

describeReal("the registry of a rehearsal", () => {
  test("serves until it is closed, and on the same port the next time", async () => {
    const folder = await scratchFolder();
    const first = await serving(folder);
    expect(await isServing(first)).toBe(true);
    await first.close();
    expect(await isServing(first)).toBe(false);
    expect((await serving(folder)).host).toBe(first.host);
  });

  test("takes another port where somebody has its own", async () => {
    const folder = await scratchFolder();
    const first = await serving(folder);
    await first.close();
    const other = createServer().listen(Number(first.host.split(":")[1]), "127.0.0.1");
    await once(other, "listening");
    onTestFinished(() => void other.close());
    const second = await serving(folder);
    expect(second.host).not.toBe(first.host);
    expect(await isServing(second)).toBe(true);
  });

  test("is used as it is where another process serves it, and ends with that one", async () => {
    const folder = await scratchFolder();
    const { child, host } = await servingElsewhere(folder);
    const ours = await serving(folder);
    expect(ours.host).toBe(host);
    await ours.close();
    expect(await isServing(ours)).toBe(true);
    child.kill("SIGTERM");
    await once(child, "exit");
    expect(await isServing(ours)).toBe(false);
  });

  test("is taken over from a process that was killed", async () => {
    const folder = await scratchFolder();
    const { child, host } = await servingElsewhere(folder);
    child.kill("SIGKILL");
    await once(child, "exit");
    const ours = await serving(folder);
    expect(ours.host).toBe(host);
    await ours.close();
    expect(await isServing(ours)).toBe(false);
  });

  test("says why it can't serve, and where its log is", async () => {
    const folder = await scratchFolder();
    await expect(serveRegistry(folder, "/bin/false")).rejects.toThrow(/ended at once \(1\).*registry\.log/);
    await expect(serveRegistry(folder, "/nowhere/registry")).rejects.toThrow(/ENOENT/);
  });
});
