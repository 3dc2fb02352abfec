import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Endpoint } from "../../../buildkit/client/endpoint.ts";
import {
  createAuthority,
  issueCertificate,
  type KeyAndCertificate,
} from "../../../trust/certificate-authority.ts";
import { listen } from "../builders/build-workspace.ts";
import { realTool } from "../real-tools.ts";

type TlsDaemonOptions = {
  readonly days?: number;
  readonly names?: string[];
  readonly credentials?: { readonly authority: KeyAndCertificate; readonly server: KeyAndCertificate };
  readonly port?: number;
  /** Programs that the daemon finds on its PATH: name to file. */
  readonly programs?: Readonly<Record<string, string>>;
  /**
   * True for a network namespace of its own, with all interfaces down: then only its unix socket
   * leads to it.
   */
  readonly isIsolated?: boolean;
};

/**
 * A buildkitd of the test's own on a port of the loopback interface, with mutual TLS, as on a
 * machine of a fleet.
 */
export class TlsDaemon implements AsyncDisposable {
  readonly folder: string;
  readonly address: string;
  readonly authority: KeyAndCertificate;
  readonly #pid: number;
  readonly #end: () => Promise<void>;

  private constructor(
    folder: string,
    address: string,
    authority: KeyAndCertificate,
    pid: number,
    end: () => Promise<void>,
  ) {
    this.folder = folder;
    this.address = address;
    this.authority = authority;
    this.#pid = pid;
    this.#end = end;
  }

  /**
   * Starts it and waits until it listens.
   * @param days the validity of its certificate; less than 0: it has expired
   * @param names the certificate's names
   * @param credentials the daemon's own, and the authority's; made where not given
   * @param port a free one where not given
   * @param programs the programs on its PATH, runc included
   * @param isIsolated true for a network namespace without any route
   */
  static async start({
    days = 1,
    names = ["127.0.0.1"],
    credentials,
    port: wanted,
    programs = {},
    isIsolated = false,
  }: TlsDaemonOptions = {}): Promise<TlsDaemon> {
    const folder = await mkdtemp(join(tmpdir(), "stagex-tls-"));
    const authority = credentials?.authority ?? (await createAuthority("the fleet's authority", 1));
    const server =
      credentials?.server ??
      (await issueCertificate(authority, { commonName: "builder", names, side: "server", days }));
    const files = { "ca.pem": authority.certificate, "cert.pem": server.certificate, "key.pem": server.key };
    for (const [name, text] of Object.entries(files))
      await writeFile(join(folder, name), text, { mode: 0o600 });
    const port = wanted ?? (await freePort());
    await mkdir(join(folder, "bin"));
    for (const [name, file] of Object.entries({ runc: realTool("runc"), ...programs }))
      await symlink(file, join(folder, "bin", name));
    const address = isIsolated ? `unix://${join(folder, "s")}` : `tcp://127.0.0.1:${port}`;
    const [program = "", ...before] = [
      ...(isIsolated ? ["unshare", "--net", "--"] : []),
      realTool("buildkitd"),
    ];
    const child = spawn(
      program,
      [
        ...before,
        ...["--root", join(folder, "state"), "--addr", address],
        ...["--tlscacert", join(folder, "ca.pem"), "--tlscert", join(folder, "cert.pem")],
        ...["--tlskey", join(folder, "key.pem"), "--oci-worker-binary", realTool("runc")],
        ...["--containerd-worker=false", "--otel-socket-path", join(folder, "otel.sock")],
      ],
      { stdio: ["ignore", "ignore", "pipe"], env: { PATH: `${join(folder, "bin")}:${process.env.PATH}` } },
    );
    let log = "";
    await new Promise<void>((resolve, reject) => {
      child.stderr.on("data", (chunk) => {
        log += chunk;
        if (log.includes("running server on")) resolve();
      });
      child.on("exit", () => reject(new Error(`buildkitd ended:\n${log}`)));
    });
    return new TlsDaemon(folder, address, authority, child.pid ?? 0, async () => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGTERM");
        await once(child, "exit");
      }
    });
  }

  /**
   * Returns the files of a client with a certificate that this authority has signed, by default the
   * daemon's own.
   */
  async client({
    authority = this.authority,
    ca = this.authority,
    days = 1,
  } = {}): Promise<NonNullable<Endpoint["tls"]>> {
    const folder = await mkdtemp(join(this.folder, "client-"));
    const { key, certificate } = await issueCertificate(authority, {
      ...{ commonName: "client", names: [], side: "client", days },
    });
    const files = {
      ca: join(folder, "ca.pem"),
      cert: join(folder, "cert.pem"),
      key: join(folder, "key.pem"),
    };
    await writeFile(files.ca, ca.certificate);
    await writeFile(files.cert, certificate);
    await writeFile(files.key, key, { mode: 0o600 });
    return files;
  }

  /** Returns the command lines of its present children: runc, and the steps of its solves. */
  async running(): Promise<string[]> {
    const { stdout } = await promisify(execFile)("ps", ["-eo", "pid=,ppid=,args="]);
    const found = new Map<number, string>([[this.#pid, ""]]);
    const lines = stdout.split("\n").map((line) => /^ *(\d+) +(\d+) (.*)$/.exec(line) ?? []);
    // A child's number may be lower than its parent's.
    for (let known = 0; known < found.size; ) {
      known = found.size;
      for (const [, pid, parent, words = ""] of lines)
        if (found.has(Number(parent))) found.set(Number(pid), words);
    }
    found.delete(this.#pid);
    return [...found.values()];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
    await rm(this.folder, { recursive: true, force: true });
  }
}

export async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  server.close();
  return port;
}
