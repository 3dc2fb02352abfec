import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Fingerprint, parseFingerprint } from "../../../trust/openpgp/fingerprint.ts";

/** A GNUPGHOME of a test's own, with an agent of its own, which ends with it. */
export class GpgHome implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async create(): Promise<GpgHome> {
    return new GpgHome(await mkdtemp(join(tmpdir(), "stagex-gpg-")));
  }

  run(...args: readonly string[]): Buffer {
    const always = ["--homedir", this.folder, "--batch", "--quiet", "--pinentry-mode=loopback"];
    return execFileSync("gpg", [...always, "--passphrase=", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  }

  /** Makes a signing key without a passphrase: `rsa3072`, `nistp256`, `ed25519`. */
  newKey(name: string, algorithm: string): Fingerprint {
    const user = `${name} <${name}@seed-tree.example>`;
    const status = this.run("--status-fd=1", "--quick-gen-key", user, algorithm, "sign", "1y").toString();
    return parseFingerprint(/KEY_CREATED \w ([0-9A-F]+)/.exec(status)?.[1] ?? "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    execFileSync("gpgconf", ["--homedir", this.folder, "--kill", "all"]);
    await rm(this.folder, { recursive: true, force: true });
  }
}
