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

/** An array of strings as JSON.stringify writes it: of characters and escapes that JSON.parse takes. */
const writtenWords =
  /^\["(?:[ !#-[\]-\u{10ffff}]|\\(?:[\\"bfnrt]|u[0-9a-f]{4}))*"(?:,"(?:[ !#-[\]-\u{10ffff}]|\\(?:[\\"bfnrt]|u[0-9a-f]{4}))*")*\]/u;

/** Replaces what the proxy adds to a RUN in a builder's words, such as a step's name or error, by the recipe's own command. */
export function stripProxyCommand(text: string, proxy: Pick<StepProxy, "id">): string {
  const [first = "", ...others] = text.split(`${proxyFlags(proxy).join(" ")} `);
  const own = others.map((rest) => rest.replace(writtenWords, ownCommand));
  return [first, ...own].join("").replaceAll(historyTrace, "");
}

/** The command in one line; of a shell's, the text that it is given. */
function ownCommand(written: string): string {
  const words = (JSON.parse(written) as string[]).slice(proxyCommand.length);
  const [script = "", option = ""] = words.toReversed();
  const isShells = words.length > 2 && /^-[a-z]*c$/.test(option);
  const lines = script.split("\n").map((line) => line.trim());
  return isShells ? lines.filter(Boolean).join(" ") : JSON.stringify(words);
}
