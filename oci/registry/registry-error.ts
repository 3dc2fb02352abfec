import { z } from "zod";
import { escapeControlCharacters } from "../../lib/text/escape-control-characters.ts";

/**
 * The problems that a registry can have:
 * - `unreachable`: its address does not answer, or its certificate is not accepted;
 * - `refused`: it wants other credentials (401, 403);
 * - `absent`: it does not have what was asked for (404);
 * - `overloaded`: it still answered 429 after the last retry;
 * - `server-error`: it still answered 5xx after the last retry;
 * - `not-a-registry`: it answers with a web page, or knows none of a registry's paths;
 * - `wrong-bytes`: its answer has another digest or size than what was asked for;
 * - `cut-off`: the connection ended, stood still or was too slow, still after the last retry;
 * - `unsafe`: it redirects in circles, to clear text, or nearer to this machine than it is itself;
 * - `failed`: anything else; the message has the client's own words.
 */
const problems = [
  "unreachable",
  "refused",
  "absent",
  "overloaded",
  "server-error",
  "not-a-registry",
  "wrong-bytes",
  "cut-off",
  "unsafe",
  "failed",
] as const;

export type RegistryProblem = (typeof problems)[number];

/** Problems that may pass by themselves. For an unreachable registry the client decides. */
const transient: readonly RegistryProblem[] = ["overloaded", "server-error", "cut-off"];

/**
 * A failed request to a registry. The message names the action, the reason and, where there is one,
 * a hint.
 */
export class RegistryError extends Error {
  override readonly name = "RegistryError";
  readonly problem: RegistryProblem;
  /** True if the same request may succeed a little later, with nothing changed here. */
  readonly isTransient: boolean;
  /** The seconds that the registry asks to wait (RFC 9110, 10.2.3); null where it doesn't. */
  readonly retryAfter: number | null;

  constructor(
    problem: RegistryProblem,
    message: string,
    isTransient: boolean = transient.includes(problem),
    retryAfter: number | null = null,
  ) {
    super(message);
    this.problem = problem;
    this.isTransient = isTransient;
    this.retryAfter = retryAfter;
  }
}

/** A failure as the registry client prints it (`tools/go/registry-client/failure.go`). */
const clientFailure = z.strictObject({
  problem: z.enum(problems),
  reason: z.string(),
  isTransient: z.boolean(),
  retryAfter: z.int().nonnegative().nullable(),
});

/** Limit of a registry's own text in a message, in characters. */
const reasonLimit = 300;

const hints: Readonly<Partial<Record<RegistryProblem, string>>> = {
  unreachable: "is the address right, and the registry running?",
  refused: "log in with: docker login HOST",
  "not-a-registry": "a log-in page of the network, or no registry at all?",
  unsafe: "nothing was sent there",
};

/**
 * Parses what the registry client printed before it failed.
 * @param action begins the message: `pulling core-sh from docker.io/stagex`
 * @param stderr its last line is the failure in JSON, unless the client itself was killed or
 * crashed
 */
export function parseClientFailure(action: string, stderr: string): RegistryError {
  const last = stderr.trimEnd().split("\n").at(-1) ?? "";
  const parsed = clientFailure.safeParse(parseJson(last));
  if (!parsed.success) {
    const [first = ""] = stderr.split("\n", 1);
    const reason = first === "" ? "the registry client was killed" : `the registry client ended: ${first}`;
    return registryError("failed", action, reason);
  }
  const { problem, reason, isTransient, retryAfter } = parsed.data;
  const wait = problem === "overloaded" && retryAfter !== null ? `; it asks to wait ${retryAfter} s` : "";
  // The registry's text is cut here, so that the wait behind it never is.
  return registryError(problem, action, reason.slice(0, reasonLimit - 50) + wait, isTransient, retryAfter);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Returns an error with the message that all registry errors have: action, problem, reason and
 * hint.
 */
export function registryError(
  problem: RegistryProblem,
  action: string,
  reason: string,
  isTransient?: boolean,
  retryAfter: number | null = null,
): RegistryError {
  const hint = hints[problem];
  const text = escapeControlCharacters(reason.slice(0, reasonLimit));
  const message = `${action}: ${problem}: ${text}${hint === undefined ? "" : ` (${hint})`}`;
  return new RegistryError(problem, message, isTransient, retryAfter);
}
