/**
 * A proxy of ours for steps that fetch. They reach it through BuildKit's session, so the builder
 * needs nothing.
 */
export type StepProxy = {
  /** The unix socket of the proxy. */
  readonly socket: string;
  /** Its name in the session, which no recipe can know. */
  readonly id: string;
  /** The folder with the program `with-proxy` for the built platform, and `ca.pem`. */
  readonly tools: string;
};

/**
 * A folder that only the step has. BuildKit removes its mount points with all empty folders that it
 * made for them (executor/stubs.go). So none is below /dev: BuildKit would also remove the empty
 * `dev` that a step leaves in an image without a base.
 */
const mounted = "/.stagex-fetch";
const context = "stagex-tools";

/** The command before the recipe's own arguments (tools/go/with-proxy). */
export const proxyCommand: readonly string[] = [`${mounted}/bin/with-proxy`];

/** Returns the flags of a RUN with the proxy. */
export function proxyFlags({ id }: Pick<StepProxy, "id">): string[] {
  return [
    "--network=none",
    `--mount=type=ssh,id=${id},mode=0666,target=${mounted}/deps.sock`,
    `--mount=type=bind,from=${context},target=${mounted}/bin`,
  ];
}

/** Returns buildctl's arguments that bring the proxy into the session. */
export function proxyArguments({ socket, id, tools }: StepProxy): string[] {
  return [
    ...["--ssh", `${id}=${socket},raw=true`],
    ...["--local", `${context}=${tools}`, "--opt", `context:${context}=local:${context}`],
  ];
}

/** The proxy's part of a command in an image's history, which joins a command's words by blanks. */
export const historyTrace = `${proxyCommand.join(" ")} `;

/**
 * An array of strings as JSON.stringify writes it, with characters and escapes that JSON.parse
 * takes.
 */
const writtenWords =
  /^\["(?:[ !#-[\]-\u{10ffff}]|\\(?:[\\"bfnrt]|u[0-9a-f]{4}))*"(?:,"(?:[ !#-[\]-\u{10ffff}]|\\(?:[\\"bfnrt]|u[0-9a-f]{4}))*")*\]/u;

/**
 * Replaces a RUN with the proxy by the recipe's own command, in a builder's text such as a step's
 * name or error.
 */
export function stripProxyCommand(text: string, proxy: Pick<StepProxy, "id">): string {
  const [first = "", ...others] = text.split(`${proxyFlags(proxy).join(" ")} `);
  const own = others.map((rest) => rest.replace(writtenWords, ownCommand));
  return [first, ...own].join("").replaceAll(historyTrace, "");
}

/** Returns the command in one line; for a shell, its script. */
function ownCommand(written: string): string {
  const words = (JSON.parse(written) as string[]).slice(proxyCommand.length);
  const [script = "", option = ""] = words.toReversed();
  const isShell = words.length > 2 && /^-[a-z]*c$/.test(option);
  const lines = script.split("\n").map((line) => line.trim());
  return isShell ? lines.filter(Boolean).join(" ") : JSON.stringify(words);
}
