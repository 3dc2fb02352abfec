import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { selfSigned } from "../builders/self-signed.ts";

/** The answer for a path of the registry: the body, or a status. */
export type Served = Buffer | string | { readonly status: number; readonly headers?: Record<string, string> };

/**
 * A registry of packages, over TLS on the loopback, under a name that only a test's own resolver
 * knows.
 */
export class PackageRegistry implements AsyncDisposable {
  readonly host = "registry.test";
  readonly authority: string;
  /** Path -> content; packages are added once the port is known. */
  readonly files = new Map<string, Served>();
  /** Path -> the event that its answer waits for. */
  readonly held = new Map<string, Promise<unknown>>();
  /** The requests so far, as `GET /path`. */
  readonly requests: string[] = [];
  readonly #server: Server;

  private constructor({ key, cert }: { key: string; cert: string }) {
    this.authority = cert;
    this.#server = createServer({ key, cert }, async (request, response) => {
      this.requests.push(`${request.method} ${request.url}`);
      await this.held.get(request.url ?? "");
      const served = this.files.get(request.url ?? "") ?? { status: 404 };
      if (typeof served !== "string" && "status" in served)
        return void response.writeHead(served.status, served.headers).end("no such thing\n");
      response.writeHead(200, { "content-length": Buffer.byteLength(served), etag: `"${hash(served)}"` });
      response.end(request.method === "HEAD" ? undefined : served);
    });
    // Clients that reject its certificate, or go away, are cases of the tests.
    this.#server.on("tlsClientError", () => undefined);
  }

  static async start(): Promise<PackageRegistry> {
    const registry = new PackageRegistry(selfSigned("registry.test"));
    registry.#server.listen(0, "127.0.0.1");
    await once(registry.#server, "listening");
    return registry;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `https://${this.host}:${this.port}`;
  }

  /** Waits until a path is requested. */
  async asked(path: string): Promise<void> {
    while (!this.requests.includes(`GET ${path}`)) await once(this.#server, "request");
  }

  /** Serves a Go module of one file (go.dev/ref/mod, "GOPROXY protocol"). */
  addModule(path: string, version: string, source: string): void {
    const base = `/go/${path}/@v/${version}`;
    const mod = `module ${path}\n\ngo 1.20\n`;
    this.files.set(`${base}.info`, JSON.stringify({ Version: version, Time: "2020-01-01T00:00:00Z" }));
    this.files.set(`${base}.mod`, mod);
    const folder = `${path}@${version}`;
    this.files.set(`${base}.zip`, zip({ [`${folder}/go.mod`]: mod, [`${folder}/it.go`]: source }));
  }

  /**
   * Serves a crate (doc.rust-lang.org/cargo/reference/registry-index.html), and returns its
   * checksum for Cargo.lock.
   */
  addCrate(name: string, version: string, source: string): string {
    const toml = `[package]\nname = "${name}"\nversion = "${version}"\nedition = "2021"\n`;
    const crate = tarball(`${name}-${version}`, { "Cargo.toml": toml, "src/lib.rs": source });
    const line = { name, vers: version, deps: [], cksum: hash(crate), features: {}, yanked: false };
    this.files.set("/index/config.json", JSON.stringify({ dl: `${this.url}/crates` }));
    this.files.set(`/index/${name.slice(0, 2)}/${name.slice(2, 4)}/${name}`, `${JSON.stringify(line)}\n`);
    this.files.set(`/crates/${name}/${version}/download`, crate);
    const from = `sparse+${this.url}/index/`;
    return `[[package]]\nname = "${name}"\nversion = "${version}"\nsource = "${from}"\nchecksum = "${hash(crate)}"\n`;
  }

  /** Serves an npm package, and returns its entry of package-lock.json. */
  addNpmPackage(name: string, version: string, source: string): object {
    const path = `/npm/${name}/-/${name}-${version}.tgz`;
    const content = tarball("package", {
      "package.json": JSON.stringify({ name, version }),
      "index.js": source,
    });
    this.files.set(path, content);
    const integrity = `sha512-${createHash("sha512").update(content).digest("base64")}`;
    return { version, resolved: `${this.url}${path}`, integrity };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}

function hash(content: Buffer | string): string {
  return createHash("sha256").update(content).digest("hex");
}

function tarball(folder: string, files: Readonly<Record<string, string>>): Buffer {
  const root = mkdtempSync(join(tmpdir(), "stagex-tarball-"));
  try {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(root, folder, path)), { recursive: true });
      writeFileSync(join(root, folder, path), content);
    }
    const same = ["--sort=name", "--mtime=@1", "--owner=0", "--group=0", "--mode=a+rX"];
    return execFileSync("tar", [...same, "-C", root, "-czf", "-", folder]);
  } finally {
    rmSync(root, { recursive: true });
  }
}

/** Makes a zip archive of stored files (PKWARE's APPNOTE.TXT, 4.3). */
function zip(files: Readonly<Record<string, string>>): Buffer {
  const locals: Buffer[] = [];
  const entries: Buffer[] = [];
  let offset = 0;
  for (const [name, text] of Object.entries(files)) {
    const content = Buffer.from(text);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(0x21, 8);
    common.writeUInt32LE(crc32(content), 10);
    common.writeUInt32LE(content.length, 14);
    common.writeUInt32LE(content.length, 18);
    common.writeUInt16LE(Buffer.byteLength(name), 22);
    const local = Buffer.concat([signature(0x04034b50), common, Buffer.from(name), content]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(offset, 10);
    entries.push(
      Buffer.concat([signature(0x02014b50), Buffer.from([20, 0]), common, tail, Buffer.from(name)]),
    );
    locals.push(local);
    offset += local.length;
  }
  const directory = Buffer.concat(entries);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(entries.length, 4);
  end.writeUInt16LE(entries.length, 6);
  end.writeUInt32LE(directory.length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...locals, directory, signature(0x06054b50), end]);
}

function signature(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
