import { existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { readFile, symlink } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import type { Endpoint } from "./endpoint.ts";

const inherited = ["PATH", "TMPDIR"];
/** Variables for the program that buildctl runs to reach a daemon of that scheme. */
const inheritedByHelper: Readonly<Record<string, readonly string[]>> = {
  "docker-container": [
    ...["HOME", "USER", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK"],
    ...["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"],
  ],
  "kube-pod": ["HOME", "USER", "KUBECONFIG"],
  ssh: ["HOME", "USER", "SSH_AUTH_SOCK"],
};

/**
 * Returns the environment of a buildctl that queries a daemon: no more than it needs to reach it.
 * Builds have an environment of their own: see {@link prepareBuildEnvironment}.
 */
export function clientEnvironment({ address }: Endpoint): NodeJS.ProcessEnv {
  const names = [...inherited, ...(inheritedByHelper[schemeOf(address)] ?? [])];
  return Object.fromEntries(names.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));
}

/**
 * Makes the environment of a buildctl that builds. buildctl makes a build argument of
 * SOURCE_DATE_EPOCH, and offers the registry credentials of Docker's configuration to any daemon
 * that asks. So it gets a configuration without credentials, in a new folder below `folder`. That
 * has the user's contexts only, by which `docker` finds its engine.
 */
export async function prepareBuildEnvironment(
  endpoint: Endpoint,
  folder: string,
): Promise<NodeJS.ProcessEnv> {
  const environment = clientEnvironment(endpoint);
  const config = mkdtempSync(join(folder, "docker-"));
  // With no registry at all, Docker's library asks the system's credential helper (docker/cli,
  // DetectDefaultStore).
  const content: Record<string, unknown> = { auths: { "none.invalid": {} } };
  if (schemeOf(endpoint.address) === "docker-container") {
    const own = environment.DOCKER_CONFIG ?? join(environment.HOME ?? homedir(), ".docker");
    content.currentContext = await currentContext(own);
    if (existsSync(join(own, "contexts"))) await symlink(join(own, "contexts"), join(config, "contexts"));
    // Docker looks in the configuration's folder otherwise (docker/cli, "Protect the Docker daemon
    // socket").
    if (environment.DOCKER_TLS_VERIFY) environment.DOCKER_CERT_PATH ??= own;
  }
  writeFileSync(join(config, "config.json"), JSON.stringify(content), { mode: 0o600 });
  return { ...environment, DOCKER_CONFIG: config };
}

const dockerConfigSchema = z.object({ currentContext: z.string().optional() });

async function currentContext(folder: string): Promise<string | undefined> {
  try {
    return dockerConfigSchema.parse(JSON.parse(await readFile(join(folder, "config.json"), "utf8")))
      .currentContext;
  } catch {
    return undefined;
  }
}

function schemeOf(address: string): string {
  return address.slice(0, address.indexOf(":"));
}
