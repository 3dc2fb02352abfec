import { z } from "zod";
import { escapeControlCharacters } from "../../lib/text/escape-control-characters.ts";

/**
 * What can go wrong at a registry, by name:
 * - `unreachable`: nobody answers at its address, or its certificate is not accepted;
 * - `refused`: it wants other credentials (401, 403);
 * - `absent`: it does not have what was asked for (404);
 * - `overloaded`: it still answered 429 after the last retry;
 * - `server-error`: it still answered 5xx after the last retry;
 * - `not-a-registry`: it answers with a web page, or knows none of a registry's paths;
 * - `wrong-bytes`: what it gave has another digest or size than what was asked for;
 * - `cut-off`: the connection ended, stood still or was too slow before all had come, still after the last retry;
 * - `unsafe`: it leads where it must not: in circles, to clear text, or nearer to this machine than it is itself;
 * - `failed`: anything else; the message has the client's words.
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

/** Problems that may be over a little later; of an unreachable registry the client tells. */
const passing: readonly RegistryProblem[] = ["overloaded", "server-error", "cut-off"];

/** A registry did not do what was asked of it. The message says what, where and why, and what mends it. */
export class RegistryError extends Error {
  override readonly name = "RegistryError";
  readonly problem: RegistryProblem;
  /** Whether the same may succeed a little later, with nothing changed here. */
  readonly isTransient: boolean;
  /** For how long the registry asks to be left alone, in seconds (RFC 9110, 10.2.3); null where it doesn't. */
  readonly retryAfter: number | null;

  constructor(
    problem: RegistryProblem,
    message: string,
    mayPass: boolean = passing.includes(problem),
    retryAfter: number | null = null,
  ) {
    super(message);
    this.problem = problem;
    this.isTransient = mayPass;
    this.retryAfter = retryAfter;
  }
}

/** A failure as the registry client prints it; see `failure.go`. */
const clientFailure = z.strictObject({
  problem: z.enum(problems),
  reason: z.string(),
  mayPass: z.boolean(),
  retryAfter: z.int().nonnegative().nullable(),
});

/** No line of a registry's own text is shown longer, in characters. */
const textLimit = 300;

const mends: Readonly<Partial<Record<RegistryProblem, string>>> = {
  unreachable: "is the address right, and the registry running?",
  refused: "log in with: docker login HOST",
  "not-a-registry": "a log-in page of the network, or no registry at all?",
  unsafe: "nothing was sent there",
};

/**
 * Makes an error of what the registry client printed.
 * @param doing begins the message: `pulling core-sh from docker.io/stagex`
 * @param stderr its last line is the failure in JSON, unless the client itself has ended early
 */
export function parseClientFailure(doing: string, stderr: string): RegistryError {
  const last = stderr.trimEnd().split("\n").at(-1) ?? "";
  const parsed = clientFailure.safeParse(parseJson(last));
  if (!parsed.success) {
    const [first = ""] = stderr.split("\n", 1);
    const reason = first === "" ? "the registry client was killed" : `the registry client ended: ${first}`;
    return registryError("failed", doing, reason);
  }
  const { problem, reason, mayPass, retryAfter } = parsed.data;
  const asked = problem === "overloaded" && retryAfter !== null ? `; it asks to wait ${retryAfter} s` : "";
  // The registry's own words first, cut, so that ours are never cut off.
  return registryError(problem, doing, reason.slice(0, textLimit - 50) + asked, mayPass, retryAfter);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** An error in the form that all of them have. */
export function registryError(
  problem: RegistryProblem,
  doing: string,
  reason: string,
  mayPass?: boolean,
  retryAfter: number | null = null,
): RegistryError {
  const mend = mends[problem];
  const text = escapeControlCharacters(reason.slice(0, textLimit));
  const message = `${doing}: ${problem}: ${text}${mend === undefined ? "" : ` (${mend})`}`;
  return new RegistryError(problem, message, mayPass, retryAfter);
}
