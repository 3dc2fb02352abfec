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
  quorumOutputs,
} from "../../../../pipeline/quorum/inputs.ts";
import { UnavailableError } from "../../../../trust/trust-error.ts";
import { detailedDiff } from "../../protocol/detailed-diff.ts";
import { NotReadyError, type ResourceHandler } from "../../protocol/handler.ts";

/** How long is waited says nothing about what is judged. */
const rules = { ignored: ["wait"], replacing: ["image"] };

/** In seconds, where the program says nothing. */
const defaultWait = 3600;

/** How long to wait before the lookaside is asked again, in seconds: at first often, and in the end as often as nobody minds. */
const firstPause = 1;
const longestPause = 30;

/** `stagex:index:Quorum`: enough people on enough CPU vendors say that an image is right; until then it is not ready. */
export function quorumHandler(
  context: () => Context,
): ResourceHandler<QuorumPreview, QuorumInputs, QuorumOutputs> {
  /** A run waits once, not once for each image. */
  let waitingSince: number | undefined;

  async function judged(inputs: QuorumInputs, operation: Operation): Promise<ImageQuorum> {
    const { reference, digest, digests, threshold, vendors } = inputs;
    const [lookaside, trust] = [await context().lookaside(), await context().trust()];
    const judgement = await evaluateImageQuorum({ reference, digest, digests }, lookaside, trust, {
      threshold,
      vendors,
    });
    context().quorumSummary.note(inputs.image, judgement, wasMet(operation));
    return judgement;
  }

  /** Throws unless this process has read the roster and keys that the program means. */
  async function requireSameRoster({ image, roster }: Pick<QuorumInputs, "image" | "roster">): Promise<void> {
    const trust = await context().trust();
    if (trust.rosterDigest === roster && !(await trust.isOutdated())) return;
    throw new Error(`${image}: the roster or its keys changed since the run began; run the command again`);
  }

  async function waited(
    inputs: QuorumInputs,
    operation: Operation,
    first: ImageQuorum,
  ): Promise<ImageQuorum> {
    waitingSince ??= performance.now();
    const end = waitingSince + (inputs.wait ?? defaultWait) * 1000;
    let judgement = first;
    for (let pause = firstPause; !judgement.outputs.met; pause = Math.min(2 * pause, longestPause)) {
      const left = end - performance.now();
      if (left <= 0) break;
      operation.progress(`waiting for signatures: ${judgement.outputs.words}`);
      await sleep(Math.min(pause * 1000, left), undefined, { signal: operation.signal });
      await requireSameRoster(inputs);
      judgement = await judged(inputs, operation).catch((error: unknown) => {
        // A lookaside that is down for a moment is waited for as signatures are; what was found before is the answer till then.
        if (!(error instanceof UnavailableError)) throw error;
        operation.progress(`waiting for the signatures' server: ${error.message}`);
        return judgement;
      });
    }
    return judgement;
  }

  async function resolve(inputs: QuorumInputs, operation: Operation): Promise<QuorumOutputs> {
    await requireSameRoster(inputs);
    const first = await judged(inputs, operation);
    const judgement = inputs.onPending === "wait" ? await waited(inputs, operation, first) : first;
    const { outputs } = judgement;
    if (outputs.met) return outputs;
    if (inputs.onPending !== "defer") throw below(inputs.image, judgement);
    return outputs;
  }

  return {
    token: "stagex:index:Quorum",
    description:
      "That enough people, on enough CPU vendors' machines, have signed an image: below that it is not ready, and nothing that depends on it is made.",
    inputs: quorumInputs,
    outputs: quorumOutputs,

    check: (plan) => strayDigest(plan),

    diff: (before, after) => detailedDiff(before, after, rules),

    async preview(plan, _isNew, operation) {
      const inputs = quorumInputs.safeParse(plan).data;
      if (!inputs) return {};
      await requireSameRoster(inputs);
      // What it lacks is told by `stagex:index:quorums`, for all images of a run together.
      const { outputs } = await judged(inputs, operation);
      // Whoever waits will find what has been signed by then.
      return outputs.met || inputs.onPending !== "wait" ? outputs : {};
    },

    create: async (inputs, operation) => ({ id: inputs.image, outputs: await resolve(inputs, operation) }),

    update: (_id, inputs, operation) => resolve(inputs, operation),

    async read(id, state, operation) {
      if (!state) throw new Error(`${id}: a quorum can't be imported; it is judged from the signatures`);
      const { inputs } = state;
      const judgement = await judged(inputs, { ...operation, before: state.outputs });
      const { outputs } = judgement;
      if (outputs.met || inputs.onPending === "defer") return { inputs, outputs };
      throw below(id, judgement);
    },

    async delete() {},
  };
}

function below(image: string, quorum: ImageQuorum): NotReadyError {
  const { outputs } = quorum;
  const what = isInDoubt(quorum) ? "can't be told to be at quorum" : "is below quorum";
  return new NotReadyError(image, outputs, [`${image} ${what}: ${outputs.words}`]);
}

function wasMet({ before }: Operation): boolean {
  return z.object({ met: z.literal(true) }).safeParse(before).success;
}

/** StageX publishes, and signs, the manifest of the first platform: it must be one of those that are named. */
function strayDigest({ digest, digests }: QuorumPreview): CheckFailure[] {
  if (typeof digest !== "string" || typeof digests !== "object") return [];
  const named = Object.values(digests);
  const isOneOfThem = named.some((one) => one === digest || typeof one !== "string");
  return isOneOfThem ? [] : [{ property: "digests", reason: `does not have the image's digest, ${digest}` }];
}
