import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { CheckFailure } from "../../../../config/check-failures.ts";
import type { Context } from "../../../../pipeline/context/context.ts";
import type { Operation } from "../../../../pipeline/operation.ts";
import {
  evaluateImageQuorum,
  type ImageQuorum,
  isInDoubt,
} from "../../../../pipeline/quorum/evaluate-quorum.ts";
import {
  type QuorumInputs,
  type QuorumOutputs,
  type QuorumPreview,
  quorumInputs,
} from "../../../../pipeline/quorum/inputs.ts";
import { UnavailableError } from "../../../../trust/trust-error.ts";
import { detailedDiff } from "../../protocol/detailed-diff.ts";
import { NotReadyError, type ResourceHandler } from "../../protocol/handler.ts";
import { quorumDefinition } from "./definition.ts";

/** The time to wait does not affect the result. */
const rules = { ignored: ["wait"], replacing: ["image"] };

/** In seconds. */
const defaultWait = 3600;

/**
 * The pauses between two readings of the lookaside, in seconds: they grow from the first to the
 * longest.
 */
const firstPause = 1;
const longestPause = 30;

/** Handles `stagex:index:Quorum`. */
export function quorumHandler(context: () => Context): ResourceHandler<typeof quorumDefinition> {
  /** All images of a run wait together. */
  let waitingSince: number | undefined;

  async function evaluate(inputs: QuorumInputs, operation: Operation): Promise<ImageQuorum> {
    const { reference, digest, digests, threshold, vendors } = inputs;
    const [lookaside, trust] = [await context().lookaside(), await context().trust()];
    const result = await evaluateImageQuorum({ reference, digest, digests }, lookaside, trust, {
      threshold,
      vendors,
    });
    context().quorumSummary.note(inputs.image, result, wasMet(operation));
    return result;
  }

  /** @throws Error if this process has read another roster or other keys than the program */
  async function requireSameRoster({ image, roster }: Pick<QuorumInputs, "image" | "roster">): Promise<void> {
    const trust = await context().trust();
    if (trust.rosterDigest === roster && !(await trust.isOutdated())) return;
    throw new Error(`${image}: the roster or its keys changed since the run began; run the command again`);
  }

  async function waitForSignatures(
    inputs: QuorumInputs,
    operation: Operation,
    first: ImageQuorum,
  ): Promise<ImageQuorum> {
    waitingSince ??= performance.now();
    const end = waitingSince + (inputs.wait ?? defaultWait) * 1000;
    let result = first;
    for (let pause = firstPause; !result.outputs.met; pause = Math.min(2 * pause, longestPause)) {
      const left = end - performance.now();
      if (left <= 0) break;
      operation.progress(`waiting for signatures: ${result.outputs.words}`);
      await sleep(Math.min(pause * 1000, left), undefined, { signal: operation.signal });
      await requireSameRoster(inputs);
      result = await evaluate(inputs, operation).catch((error: unknown) => {
        // The run also waits for an unavailable lookaside; until then the previous result stands.
        if (!(error instanceof UnavailableError)) throw error;
        operation.progress(`waiting for the signatures' server: ${error.message}`);
        return result;
      });
    }
    return result;
  }

  async function resolve(inputs: QuorumInputs, operation: Operation): Promise<QuorumOutputs> {
    await requireSameRoster(inputs);
    const first = await evaluate(inputs, operation);
    const result = inputs.onPending === "wait" ? await waitForSignatures(inputs, operation, first) : first;
    const { outputs } = result;
    if (outputs.met) return outputs;
    if (inputs.onPending !== "defer") throw belowQuorum(inputs.image, result);
    return outputs;
  }

  return {
    ...quorumDefinition,

    check: (plan) => checkDigest(plan),

    diff: (before, after) => detailedDiff(before, after, rules),

    async preview(plan, _isNew, operation) {
      const inputs = quorumInputs.safeParse(plan).data;
      if (!inputs) return {};
      await requireSameRoster(inputs);
      // `stagex:index:quorums` reports the missing signatures, for all images of a run together.
      const { outputs } = await evaluate(inputs, operation);
      // A run that waits finds the signatures made by then.
      return outputs.met || inputs.onPending !== "wait" ? outputs : {};
    },

    create: async (inputs, operation) => ({ id: inputs.image, outputs: await resolve(inputs, operation) }),

    update: (_id, inputs, operation) => resolve(inputs, operation),

    async read(id, state, operation) {
      if (!state) throw new Error(`${id}: a quorum cannot be imported; it is evaluated from the signatures`);
      const { inputs } = state;
      const result = await evaluate(inputs, { ...operation, before: state.outputs });
      const { outputs } = result;
      if (outputs.met || inputs.onPending === "defer") return { inputs, outputs };
      throw belowQuorum(id, result);
    },

    async delete() {},
  };
}

function belowQuorum(image: string, quorum: ImageQuorum): NotReadyError {
  const { outputs } = quorum;
  const what = isInDoubt(quorum) ? "cannot be confirmed at quorum" : "is below quorum";
  return new NotReadyError(image, outputs, [`${image} ${what}: ${outputs.words}`]);
}

function wasMet({ before }: Operation): boolean {
  return z.object({ met: z.literal(true) }).safeParse(before).success;
}

/**
 * Requires the digest of the first platform, which StageX publishes and signs, among the
 * platforms'.
 */
function checkDigest({ digest, digests }: QuorumPreview): CheckFailure[] {
  if (typeof digest !== "string" || typeof digests !== "object") return [];
  const named = Object.values(digests);
  const isOneOfThem = named.some((one) => one === digest || typeof one !== "string");
  return isOneOfThem ? [] : [{ property: "digests", reason: `do not include the image's digest, ${digest}` }];
}
