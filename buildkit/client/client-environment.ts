import { existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { readFile, symlink } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import type { Endpoint } from "./endpoint.ts";

const inherited = ["PATH", "TMPDIR"];
/** What the program that buildctl calls to reach a daemon of that scheme needs. */
const inheritedByHelper: Readonly<Record<string, readonly string[]>> = {
  "docker-container": [
    ...["HOME", "USER", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK"],
    ...["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"],
  ],
  "kube-pod": ["HOME", "USER", "KUBECONFIG"],
  ssh: ["HOME", "USER", "SSH_AUTH_SOCK"],
};

/**
 * The environment of a buildctl that asks a daemon something: what it needs to reach it and nothing else. Only builds offer the
 * daemon credentials: see {@link prepareBuildEnvironment}.
 */
export function clientEnvironment({ address }: Endpoint): NodeJS.ProcessEnv {
  const names = [...inherited, ...(inheritedByHelper[schemeOf(address)] ?? [])];
  return Object.fromEntries(names.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));
}

/**
 * The environment of a buildctl that builds. buildctl would make a build argument of SOURCE_DATE_EPOCH, and offer the registry
 * credentials of Docker's configuration to whatever daemon asks for them. So it gets a configuration without any, in a folder
 * that this makes below `folder`; of the user's own that one has the contexts, by which `docker` finds its engine.
 */
export async function prepareBuildEnvironment(
  endpoint: Endpoint,
  folder: string,
): Promise<NodeJS.ProcessEnv> {
  const environment = clientEnvironment(endpoint);
  const config = mkdtempSync(join(folder, "docker-"));
  // Where no registry is named at all, Docker's library asks the system's credential helper (docker/cli, DetectDefaultStore).
  const content: Record<string, unknown> = { auths: { "none.invalid": {} } };
  if (schemeOf(endpoint.address) === "docker-container") {
    const own = environment.DOCKER_CONFIG ?? join(environment.HOME ?? homedir(), ".docker");
    content.currentContext = await currentContext(own);
    if (existsSync(join(own, "contexts"))) await symlink(join(own, "contexts"), join(config, "contexts"));
    // Else looked for in the configuration's folder (docker/cli, "Protect the Docker daemon socket").
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
