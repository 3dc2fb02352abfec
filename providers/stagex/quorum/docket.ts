import { type Shortfall, shortfallText } from "../../../trust/shortfall.ts";
import type { Judgement } from "./judgement.ts";

/** What a run found of an image, and whether the state had it at quorum before. */
export type Entry = Judgement & { readonly wasMet: boolean };

/** What all that a run has judged comes to. */
export type DocketSummary = {
  /** What is missing, in words, for each image below quorum. */
  readonly pending: Readonly<Record<string, string>>;
  /** Those of them that were at quorum before: a key was taken out or revoked, or has expired. */
  readonly fallen: readonly string[];
  /** The fewest signatures that bring all of them to quorum. */
  readonly signatures: number;
  readonly text: string;
};

/** The quorums that a run has judged, a preview as well; what has not changed is not judged, and not in it. */
export class Docket {
  readonly #entries = new Map<string, Entry>();

  note(image: string, entry: Entry): void {
    const wasMet = entry.wasMet || this.#entries.get(image)?.wasMet === true;
    this.#entries.set(image, { ...entry, wasMet });
  }

  summary(): DocketSummary {
    const below = [...this.#entries].filter(([, { outputs }]) => !outputs.met).sort(byName);
    const fallen = below.filter(([, { wasMet }]) => wasMet).map(([image]) => image);
    const shortfalls = below.flatMap(([, { shortfall }]) => shortfall ?? []);
    const signatures = shortfalls.reduce((sum, shortfall) => sum + shortfall.signatures, 0);
    return {
      pending: Object.fromEntries(below.map(([image, { outputs }]) => [image, outputs.words])),
      fallen,
      signatures,
      text: textOf(this.#entries.size, below.length, fallen.length, signatures, shortfalls),
    };
  }
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}

/** Images that lack the same are told of together, most of them first. */
function textOf(
  judged: number,
  below: number,
  fallen: number,
  signatures: number,
  shortfalls: readonly Shortfall[],
): string {
  if (below === 0) return `all ${judged} images judged are at quorum`;
  const alike = [...Map.groupBy(shortfalls, shortfallText)].sort(([, a], [, b]) => b.length - a.length);
  return [
    `${below} of ${judged} images judged are below quorum, ${fallen} of which were at quorum before.`,
    `The least that must be signed: ${signatures} ${signatures === 1 ? "signature" : "signatures"}.`,
    ...alike.map(
      ([words, { length }]) => `  ${length} ${length === 1 ? "image needs" : "images need"} ${words}`,
    ),
  ].join("\n");
}
