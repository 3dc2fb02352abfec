import { groupMessages } from "../../lib/text/grouped-messages.ts";
import { printableLine } from "../../lib/text/printable.ts";
import { shortenList } from "../../lib/text/shortened-list.ts";
import { type ImageQuorum, isInDoubt } from "./evaluate-quorum.ts";
import type { QuorumSummaryOutputs } from "./summary-outputs.ts";

/**
 * The quorums that a run or a preview has evaluated. An image that has not changed is not
 * evaluated, and is left out.
 */
export class QuorumSummary {
  readonly #quorums = new Map<string, ImageQuorum>();
  readonly #metBefore = new Set<string>();

  /** @param wasMet whether the state had the image at quorum before this run */
  note(image: string, quorum: ImageQuorum, wasMet: boolean): void {
    this.#quorums.set(image, quorum);
    if (wasMet) this.#metBefore.add(image);
  }

  summary(): QuorumSummaryOutputs {
    const below = [...this.#quorums]
      .filter(([, { outputs }]) => !outputs.met)
      .sort(([a], [b]) => (a < b ? -1 : 1));
    const fallen = below.map(([image]) => image).filter((image) => this.#metBefore.has(image));
    const missing = below.flatMap(([, quorum]) => quorum.missing ?? []);
    const signatures = missing.reduce((sum, one) => sum + one.signatures, 0);
    return {
      pending: Object.fromEntries(below.map(([image, { outputs }]) => [image, outputs.words])),
      fallen,
      signatures,
      text: describeBelow(this.#quorums.size, below, fallen, missing.length > 0 ? signatures : undefined),
    };
  }
}

/** Images with the same words share a line. */
function describeBelow(
  evaluated: number,
  below: readonly (readonly [string, ImageQuorum])[],
  fallen: readonly string[],
  signatures: number | undefined,
): string {
  if (below.length === 0) return `all ${evaluated} images judged are at quorum`;
  const inDoubt = below.filter(([, quorum]) => isInDoubt(quorum)).length;
  const names = fallen.length === 0 ? "" : `: ${shortenList(fallen, 10)}`;
  const lines = groupMessages(below.map(([image, { outputs }]) => [image, outputs.words]));
  return [
    `${below.length} of ${evaluated} images judged are below quorum, ${fallen.length} of which were at quorum before${names}.`,
    ...(signatures === undefined
      ? []
      : [`The least that must be signed: ${signatures} ${signatures === 1 ? "signature" : "signatures"}.`]),
    ...lines.map((line) => `  ${printableLine(line)}`),
    ...(inDoubt > 0
      ? [
          `${inDoubt === 1 ? "1 image has" : `${inDoubt} images have`} enough signatures, but something among the keys may revoke one of them: see the warnings.`,
        ]
      : []),
  ].join("\n");
}
