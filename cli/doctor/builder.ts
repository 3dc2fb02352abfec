import { queryDaemon } from "../../buildkit/client/daemon-query.ts";
import { type Endpoint, parseEndpoint } from "../../buildkit/client/endpoint.ts";
import { chooseDaemon, type DaemonChoice } from "../../tools/daemon-choice.ts";
import type { Docker } from "../../tools/docker.ts";
import { SetUpError } from "../../tools/set-up-error.ts";
import { findTool } from "../../tools/tool-resolver.ts";
import { formatVersion } from "../../tools/version.ts";
import { type Check, ok, type Section } from "./check.ts";

/** Checks the BuildKit that is used, and Docker. */
export async function checkBuilder(environment: NodeJS.ProcessEnv, docker: Docker | null): Promise<Section> {
  return { title: "BuildKit", checks: [await builderCheck(environment), dockerCheck(docker)] };
}

async function builderCheck(environment: NodeJS.ProcessEnv): Promise<Check> {
  const name = "BuildKit to build with";
  try {
    const choice = await chooseDaemon(environment);
    if (choice.kind === "private") return ok(name, "one of our own, started when needed and ended after");
    return await remoteCheck(name, choice, environment);
  } catch (error) {
    if (!(error instanceof SetUpError)) throw error;
    return { name, found: error.why, minimum: null, verdict: "falls short", mend: error.fix };
  }
}

async function remoteCheck(
  name: string,
  choice: Exclude<DaemonChoice, { kind: "private" }>,
  environment: NodeJS.ProcessEnv,
): Promise<Check> {
  const where =
    choice.kind === "given"
      ? `$BUILDKIT_HOST, ${choice.address}`
      : `Docker's builder ${choice.name} (${choice.because})`;
  const buildctl = await findTool("buildctl", { environment });
  if (buildctl === null) return ok(name, `${where}; not asked, for buildctl is not there yet`);
  try {
    const endpoint: Endpoint = parseEndpoint({ address: choice.address, buildctl: buildctl.path });
    const { version, platforms } = await queryDaemon(endpoint);
    // A daemon reports neither the Go nor the runc that it was built with. A first image, compared
    // with its published digest, shows the Go.
    return ok(
      name,
      `${where}: ${version}, ${platforms.join(" ")}; its Go is unknown from here, and so are its system-call filter and limits. ` +
        "Its steps see what BuildKit shows them of its machine: TRACEPARENT, OTEL_*, /dev/otel-grpc.sock, resolv.conf",
      "v0.32.0",
    );
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error);
    const mend =
      choice.kind === "given"
        ? "unset BUILDKIT_HOST, or start what it names"
        : `docker buildx inspect --bootstrap ${choice.name}`;
    return { name, found, minimum: "v0.32.0", verdict: "falls short", mend };
  }
}

function dockerCheck(docker: Docker | null): Check {
  const name = "Docker builder";
  if (docker === null) return ok(name, "none, and none needed");
  if (docker.server === null) return ok(name, "none: Docker's daemon does not answer");
  const [builder] = docker.builders;
  if (builder === undefined)
    return ok(name, `Docker ${formatVersion(docker.server)}, without a builder in a container`);
  return ok(
    name,
    `${builder.name}${builder.isRunning ? "" : " (not running)"}: export BUILDKIT_HOST=${builder.address}`,
  );
}
