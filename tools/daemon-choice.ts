import { findDocker } from "./docker.ts";
import { SetUpError } from "./set-up-error.ts";

/** The BuildKit to use where the stack's configuration names none. */
export type DaemonChoice =
  /** The daemon that `$BUILDKIT_HOST` names. */
  | { readonly kind: "given"; readonly address: string }
  /** A private daemon on this machine. */
  | { readonly kind: "private" }
  /** A builder of the user's Docker, where no private daemon can run. */
  | { readonly kind: "docker"; readonly address: string; readonly name: string; readonly because: string };

/**
 * Returns the reason for which no private daemon can run here, or null: BuildKit needs Linux and,
 * as we start it, root.
 */
export function privateDaemonObstacle(
  system: NodeJS.Platform = process.platform,
  user: number | undefined = process.getuid?.(),
): string | null {
  if (system !== "linux") return `BuildKit runs on Linux only, and this is ${system}`;
  if (user !== 0) return "a private BuildKit needs root";
  return null;
}

/**
 * Chooses `$BUILDKIT_HOST`, else a private daemon, else, where none can run, a Docker builder.
 *
 * @throws SetUpError where there is none of them
 */
export async function chooseDaemon(
  environment: NodeJS.ProcessEnv = process.env,
  obstacle: string | null = privateDaemonObstacle(),
): Promise<DaemonChoice> {
  if (environment.BUILDKIT_HOST) return { kind: "given", address: environment.BUILDKIT_HOST };
  if (obstacle === null) return { kind: "private" };
  const docker = await findDocker(environment);
  const builder = docker?.builders.find(({ isRunning }) => isRunning) ?? docker?.builders[0];
  if (builder?.isRunning) {
    return { kind: "docker", address: builder.address, name: builder.name, because: obstacle };
  }
  throw new SetUpError(
    "a BuildKit to build with",
    "not-for-this-system",
    `${obstacle}, and ${dockerProblem()}`,
    dockerFix(),
  );

  function dockerProblem(): string {
    if (docker === null) return "there is no docker, and $BUILDKIT_HOST names no daemon";
    if (docker.server === null) return "Docker's daemon does not answer, and $BUILDKIT_HOST names no daemon";
    if (builder === undefined) return "Docker has no builder of the docker-container driver";
    return `Docker's builder ${builder.name} is not running`;
  }

  function dockerFix(): string {
    if (docker?.server && builder) return `docker buildx inspect --bootstrap ${builder.name}`;
    if (docker?.server) return "docker buildx create --name stagex --driver docker-container --bootstrap";
    if (process.platform === "linux") return "run it as root (sudo -E npm start), or export BUILDKIT_HOST=…";
    return "start Docker, or export BUILDKIT_HOST=tcp://HOST:1234";
  }
}
