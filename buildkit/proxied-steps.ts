/** How a solve lets steps that fetch reach a proxy of ours: through BuildKit's own session, so nothing is needed on the builder. */
export type StepProxy = {
  /** The unix socket that the proxy listens on. */
  readonly socket: string;
  /** The session's name for it, which no recipe can know. */
  readonly id: string;
  /** The folder with the program `with-proxy`, for the platform that is built, and `ca.pem`. */
  readonly tools: string;
};

/**
 * A folder that only the step has. BuildKit removes the points that it mounts on, with all empty folders that it made for them
 * (executor/stubs.go). So none is below /dev: the empty `dev` that a step leaves in an image without a base would be removed with it.
 */
const mounted = "/.stagex-fetch";
const context = "stagex-tools";

/** What stands before the recipe's own arguments (tools/go/with-proxy). */
export const proxyCommand: readonly string[] = [`${mounted}/bin/with-proxy`];

/** The flags of a RUN that is given the proxy. */
export function proxyFlags({ id }: Pick<StepProxy, "id">): string[] {
  return [
    "--network=none",
    `--mount=type=ssh,id=${id},mode=0666,target=${mounted}/deps.sock`,
    `--mount=type=bind,from=${context},target=${mounted}/bin`,
  ];
}

/** buildctl's arguments that bring the proxy into the session. */
export function proxyArguments({ socket, id, tools }: StepProxy): string[] {
  return [
    ...["--ssh", `${id}=${socket},raw=true`],
    ...["--local", `${context}=${tools}`, "--opt", `context:${context}=local:${context}`],
  ];
}

/** What the proxy adds to a command in an image's history, which has a command's words with a blank between them. */
export const historyTrace = `${proxyCommand.join(" ")} `;
