import { printable, printableOutput } from "../../lib/text/printable.ts";
import type { InfrastructureFailure } from "./infrastructure-failure.ts";
import type { FailedStep } from "./progress.ts";

/** A build that failed, with its step, its reason and its log. */
export class SolveError extends Error {
  override readonly name = "SolveError";
  /**
   * `[build 5/12] RUN make`; undefined where no step failed, as for an unreadable Containerfile.
   */
  readonly step: string | undefined;
  /** The exit code of the step's program; undefined for other errors. */
  readonly exitCode: number | undefined;
  readonly log: string;
  /** The last lines of the failed step's output, or of buildctl's own messages. */
  readonly tail: readonly string[];
  /** Whether the kernel killed a process of it for lack of memory. */
  readonly isOutOfMemory: boolean;
  /** The builder's failure, where the build is not to blame: another builder may succeed. */
  readonly infrastructureFailure: InfrastructureFailure | undefined;

  constructor(
    image: string,
    failed: FailedStep | undefined,
    messages: readonly string[],
    log: string,
    failure?: InfrastructureFailure,
  ) {
    const said = failed && failed.tail.length > 0 ? failed.tail : messages.slice(-20);
    const tail = said.map(printableOutput);
    const step = failed && `[${failed.step}] ${failed.name}`;
    const code = /exit code: (\d+)/.exec(failed?.error ?? "")?.[1];
    const reason = step
      ? `${step}: ${code ? exitReason(code, failed, tail) : explained(failed.error)}`
      : explained(lastError(messages));
    super(
      printable`${image} can't be built: ${reason}` +
        `\n${tail.map((line) => `  ${line}`).join("\n")}\nThe whole log: ${log}`,
    );
    this.step = step;
    this.exitCode = code === undefined ? undefined : Number(code);
    this.log = log;
    this.tail = tail;
    // Without a report, exit code 137 of a step's first program is the kernel's doing.
    this.isOutOfMemory = failure === undefined && (failed?.wasKilled === true || this.exitCode === 137);
    this.infrastructureFailure = failure;
  }
}

/** Causes of some of BuildKit's errors, and hints. */
const explanations: readonly (readonly [RegExp, string])[] = [
  [
    /invalid frontend: gateway/,
    "Its `# syntax=` line asks for a frontend from elsewhere, which could build anything: remove it.",
  ],
  [
    /denied by policy/,
    "An image is built from its package's files, its sources (fetch/) and stagex/ images only.",
  ],
  [/network\.host/, "No step of a build has a network."],
  [
    /cannot allocate memory$/,
    'It wanted more memory than a step may have: docs/fleets.md, "What a step may use".',
  ],
  [/no space left on device/, "The disk is full: make room, and run the same command again."],
  [/\bUnavailable\b/, "BuildKit went away during the build: run the same command again."],
];

/** Returns BuildKit's last error message of a failed solve. */
export function lastError(messages: readonly string[]): string {
  const line =
    messages.findLast((message) => message.startsWith("error: ")) ??
    "buildctl ended without an error message";
  return line.replace(/^error: (failed to solve: )?/, "");
}

function explained(error: string): string {
  const explanation = explanations.find(([pattern]) => pattern.test(error))?.[1];
  return [error, explanation].filter(Boolean).join(". ");
}

/**
 * Signs in a program's exit code, or at the end of its output, of a limit that the step has
 * reached.
 */
const limitSigns: readonly (readonly [RegExp, string])[] = [
  [/^137$/, "it was killed, as the kernel does with a step that wants more memory than it may have"],
  [
    /resource temporarily unavailable|can(?:no|')t fork/i,
    "it could start no more processes, as a step that has as many as it may have",
  ],
];

function exitReason(code: string, { wasKilled }: FailedStep, tail: readonly string[]): string {
  const sign = wasKilled
    ? limitSigns[0]
    : limitSigns.find(([pattern]) => pattern.test(code) || tail.some((line) => pattern.test(line)));
  const reason = `exit code ${code}`;
  return sign === undefined ? reason : `${reason}: ${sign[1]} (docs/fleets.md, "What a step may use")`;
}
