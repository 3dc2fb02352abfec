import { groupMessages } from "../../lib/text/grouped-messages.ts";
import { printableLine } from "../../lib/text/printable.ts";
import { shortenList } from "../../lib/text/shortened-list.ts";
import type { MissingSignatures } from "../../trust/quorum/missing-signatures.ts";
import type { ImageQuorum } from "./evaluate-quorum.ts";

/** What a run found of an image, and whether the state had it at quorum before. */
export type QuorumEntry = ImageQuorum & { readonly wasMet: boolean };

/** What all that a run has judged comes to. */
export type SummaryOfQuorums = {
  /** What is missing, in words, for each image below quorum. */
  readonly pending: Readonly<Record<string, string>>;
  /** Those of them that were at quorum before: a key was taken out or revoked, or has expired. */
  readonly fallen: readonly string[];
  /** The fewest signatures that bring all of them to quorum. */
  readonly signatures: number;
  readonly text: string;
};

/** The quorums that a run has judged, a preview as well; what has not changed is not judged, and not in it. */
export class QuorumSummary {
  readonly #entries = new Map<string, QuorumEntry>();

  note(image: string, entry: QuorumEntry): void {
    const wasMet = entry.wasMet || this.#entries.get(image)?.wasMet === true;
    this.#entries.set(image, { ...entry, wasMet });
  }

  summary(): SummaryOfQuorums {
    const below = [...this.#entries].filter(([, { outputs }]) => !outputs.met).sort(byName);
    const fallen = below.filter(([, { wasMet }]) => wasMet).map(([image]) => image);
    const shortfalls = below.flatMap(([, { missing: shortfall }]) => shortfall ?? []);
    const signatures = signaturesIn(shortfalls);
    return {
      pending: Object.fromEntries(below.map(([image, { outputs }]) => [image, outputs.words])),
      fallen,
      signatures,
      text: textOf(this.#entries.size, below, fallen, shortfalls),
    };
  }
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}

function signaturesIn(shortfalls: readonly MissingSignatures[]): number {
  return shortfalls.reduce((sum, { signatures }) => sum + signatures, 0);
}

/** Images of which the same is to be said are told of together. */
function textOf(
  judged: number,
  below: readonly (readonly [string, QuorumEntry])[],
  fallen: readonly string[],
  shortfalls: readonly MissingSignatures[],
): string {
  if (below.length === 0) return `all ${judged} images judged are at quorum`;
  const inDoubt = below.filter(([, { isInDoubt }]) => isInDoubt).length;
  const signatures = signaturesIn(shortfalls);
  const least = `The least that must be signed: ${signatures} ${signatures === 1 ? "signature" : "signatures"}.`;
  const before = fallen.length === 0 ? "" : `: ${shortenList(fallen, 10)}`;
  return [
    `${below.length} of ${judged} images judged are below quorum, ${fallen.length} of which were at quorum before${before}.`,
    ...(shortfalls.length > 0 ? [least] : []),
    ...groupMessages(below.map(([image, { outputs }]) => [image, outputs.words])).map(
      (line) => `  ${printableLine(line)}`,
    ),
    ...(inDoubt > 0
      ? [
          `${counted(inDoubt)} enough signatures, but something among the keys may revoke one of them: see the warnings.`,
        ]
      : []),
  ].join("\n");
}

function counted(images: number): string {
  return images === 1 ? "1 image has" : `${images} images have`;
}
