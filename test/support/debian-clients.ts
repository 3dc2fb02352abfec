import { execFileSync } from "node:child_process";
import { findExecutable } from "../../tools/executable.ts";

const clients = ["skopeo", "podman", "gpgv"] as const;

/**
 * Provides Debian's own clients. CI installs them, as every test must run there. Elsewhere it
 * installs nothing: tests of missing clients are skipped, and the terminal shows the command to
 * install them.
 */
export async function setup(): Promise<void> {
  const missing: string[] = [];
  for (const client of clients)
    if ((await findExecutable(client, process.env)) === null) missing.push(client);
  if (missing.length === 0) return;
  if (!process.env.CI) {
    process.stderr.write(
      `SKIPPED: the tests with ${missing.join(", ")}; to run them: apt-get install ${missing.join(" ")}\n`,
    );
    return;
  }
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  for (const args of [["update"], ["install", "--yes", "--no-install-recommends", ...missing]]) {
    execFileSync("apt-get", ["--quiet", ...args], {
      env: environment,
      stdio: ["ignore", "inherit", "inherit"],
    });
  }
}
