import { existsSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { projectRoot } from "../lib/paths.ts";

/** The absolute paths of the programs that run a stack. */
export type EnginePrograms = { readonly pulumi: string; readonly languageHost: string };

/**
 * Returns the first folders of PATH and the variables with which the engine runs this project's
 * stacks without an account.
 *
 * - PATH: the engine runs the language host, and that the `node`, which must run TypeScript.
 * - PULUMI_CONFIG_PASSPHRASE: a file backend encrypts secrets with a passphrase. It is empty unless
 *   the user has one. Without the variable the engine would ask, and fail where there is no
 *   terminal.
 * - BUILDKIT_HOST: the daemon to build with, where the set-up found that no private daemon can run
 *   here.
 * - no_grpc_proxy: gRPC for Node uses `https_proxy` also for this machine's own addresses, on which
 *   engine, program and provider talk.
 * - PULUMI_SKIP_UPDATE_CHECK: the engine's version is pinned, and the check needs a network.
 *
 * The backend is in Pulumi.yaml. PULUMI_HOME stays the user's: it has the selected stack, so that a
 * plain `pulumi` uses the same one.
 */
export function engineRequirements(
  programs: EnginePrograms,
  environment: NodeJS.ProcessEnv = process.env,
): { readonly folders: readonly string[]; readonly variables: Readonly<Record<string, string>> } {
  const hasPassphrase =
    environment.PULUMI_CONFIG_PASSPHRASE !== undefined || Boolean(environment.PULUMI_CONFIG_PASSPHRASE_FILE);
  return {
    folders: [...new Set([pinnedNodeFolder(), dirname(programs.languageHost), dirname(programs.pulumi)])],
    variables: {
      PULUMI_SKIP_UPDATE_CHECK: "true",
      ...(environment.BUILDKIT_HOST ? { BUILDKIT_HOST: environment.BUILDKIT_HOST } : {}),
      ...loopbackWithoutProxy(environment),
      ...(hasPassphrase ? {} : { PULUMI_CONFIG_PASSPHRASE: "" }),
    },
  };
}

function loopbackWithoutProxy(environment: NodeJS.ProcessEnv): Readonly<Record<string, string>> {
  const { grpc_proxy, https_proxy, http_proxy, no_grpc_proxy, no_proxy } = environment;
  if (!(grpc_proxy || https_proxy || http_proxy)) return {};
  const listed = (no_grpc_proxy || no_proxy || "").split(",").filter((host) => host.trim() !== "");
  return { no_grpc_proxy: [...new Set([...listed, "127.0.0.1", "localhost"])].join(",") };
}

/** Returns the environment of the engine. */
export function engineEnvironment(
  programs: EnginePrograms,
  environment: NodeJS.ProcessEnv = process.env,
): NodeJS.ProcessEnv {
  const { folders, variables } = engineRequirements(programs, environment);
  const rest = (environment.PATH ?? "").split(delimiter).filter((folder) => !folders.includes(folder));
  return {
    // Each run loads the program and the provider: compiled modules start sooner.
    NODE_COMPILE_CACHE: join(projectRoot, "node_modules/.cache/stagex"),
    ...environment,
    ...variables,
    PATH: [...folders, ...rest].join(delimiter),
  };
}

/**
 * Returns the folder of the pinned Node, or of the running one where npm has none for this system.
 */
function pinnedNodeFolder(): string {
  const folder = join(projectRoot, "node_modules/.bin");
  return existsSync(join(folder, "node")) ? folder : dirname(process.execPath);
}
