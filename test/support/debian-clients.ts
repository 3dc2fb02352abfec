import { execFileSync } from "node:child_process";
import { findExecutable } from "../../tools/executable.ts";

const clients = ["skopeo", "podman", "gpgv"] as const;

/**
 * Sees to Debian's own clients. On a machine of one's own nothing is installed unasked: what is missing is skipped, with the command on
 * the terminal. CI installs them, as nothing may be skipped there.
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
