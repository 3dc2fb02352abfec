import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestOf } from "../../../oci/digest.ts";
import { realTool } from "../real-tools.ts";

type Entry = { readonly digest: string };
type Manifest = {
  readonly manifests?: readonly Entry[];
  readonly config?: Entry;
  readonly layers?: readonly Entry[];
};

/** The real registry (distribution), on loopback, its storage in a temporary folder. */
export class RegistryServer implements AsyncDisposable {
  /** `127.0.0.1:<port>`. */
  readonly host: string;
  readonly #folder: string;
  #process: ChildProcess | undefined;

  private constructor(host: string, folder: string) {
    this.host = host;
    this.#folder = folder;
  }

  static async start(): Promise<RegistryServer> {
    const folder = await mkdtemp(join(tmpdir(), "stagex-registry-"));
    const host = `127.0.0.1:${await freePort()}`;
    // JSON is YAML.
    await writeFile(
      join(folder, "config.json"),
      JSON.stringify({
        version: "0.1",
        log: { level: "error", accesslog: { disabled: true } },
        storage: { filesystem: { rootdirectory: join(folder, "storage") }, delete: { enabled: true } },
        // Relative, so that uploads also pass through a proxy before it.
        http: { addr: host, secret: "of no meaning", relativeurls: true },
      }),
    );
    const server = new RegistryServer(host, folder);
    await server.restart();
    return server;
  }

  /** Ends it as a power failure does. Its stored content stays. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    this.#process = undefined;
    const ended = once(child, "close");
    child.kill("SIGKILL");
    await ended;
  }

  /** Starts it at its old address, with its stored content. */
  async restart(): Promise<void> {
    const child = spawn(realTool("registry"), ["serve", join(this.#folder, "config.json")], {
      stdio: "ignore",
    });
    this.#process = child;
    for (let tries = 0; !(await answers(this.host)); tries += 1) {
      if (tries === 200 || child.exitCode !== null) {
        await this[Symbol.asyncDispose]();
        throw new Error(`the registry does not answer at ${this.host}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Returns the digest that a tag points at; null where there is no such tag. */
  async digestOf(repository: string, tag: string): Promise<string | null> {
    const accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
    const url = `http://${this.host}/v2/${repository}/manifests/${tag}`;
    return (await fetch(url, { method: "HEAD", headers: { accept } })).headers.get("docker-content-digest");
  }

  /** Makes the registry forget a manifest. */
  async forget(repository: string, digest: string): Promise<void> {
    const url = `http://${this.host}/v2/${repository}/manifests/${digest}`;
    const { status } = await fetch(url, { method: "DELETE" });
    if (status !== 202) throw new Error(`${url}: ${status}`);
  }

  /** Makes the registry lose a blob of a repository. */
  async lose(repository: string, digest: string): Promise<void> {
    const url = `http://${this.host}/v2/${repository}/blobs/${digest}`;
    const { status } = await fetch(url, { method: "DELETE" });
    if (status !== 202) throw new Error(`${url}: ${status}`);
  }

  /** Returns the tags of a repository, sorted. */
  async tagsOf(repository: string): Promise<string[]> {
    const answer = await fetch(`http://${this.host}/v2/${repository}/tags/list`);
    if (answer.status === 404) return [];
    const { tags } = (await answer.json()) as { tags: string[] | null };
    return (tags ?? []).sort();
  }

  /** Returns all repositories with any content. */
  async repositories(): Promise<string[]> {
    const answer = await fetch(`http://${this.host}/v2/_catalog?n=1000`);
    const { repositories } = (await answer.json()) as { repositories: string[] };
    return repositories;
  }

  /** Returns the manifests and blobs behind a tag that are missing or wrong in the registry. */
  async missingBehind(repository: string, reference: string): Promise<string[]> {
    const bytes = await this.#get(repository, "manifests", reference);
    if (bytes === null) return [`${repository}: ${reference}`];
    const { manifests = [], config, layers = [] } = JSON.parse(bytes.toString("utf8")) as Manifest;
    const missing: string[] = [];
    for (const { digest } of manifests) missing.push(...(await this.missingBehind(repository, digest)));
    for (const { digest } of [...(config ? [config] : []), ...layers]) {
      const blob = await this.#get(repository, "blobs", digest);
      if (blob === null || digestOf(blob) !== digest) missing.push(`${repository}: ${digest}`);
    }
    return missing;
  }

  async #get(repository: string, kind: "manifests" | "blobs", reference: string): Promise<Buffer | null> {
    const accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
    const answer = await fetch(`http://${this.host}/v2/${repository}/${kind}/${reference}`, {
      headers: { accept },
    });
    return answer.ok ? Buffer.from(await answer.arrayBuffer()) : null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function answers(host: string): Promise<boolean> {
  return await fetch(`http://${host}/v2/`).then(
    ({ ok }) => ok,
    () => false,
  );
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return address.port;
}
