import { type Digest, digestFromHex, hexOf } from "../../oci/digest.ts";
import type { BuildPlan } from "../build-plan.ts";
import { inputKeyIfKnown, type KeyLookup } from "../plan/predict-digests.ts";
import type { Tree } from "../tree/tree.ts";
import { hasSameOwnInputs } from "./published-inputs.ts";

/** The published digests that a change of a tree alters. */
export type DigestChanges = {
  /** The hex digits of digests that differ from the published ones, or are new, by image name. */
  readonly changed: ReadonlyMap<string, string>;
  /** Images whose digest may differ, and is unknown because they have not been built. */
  readonly unknown: readonly string[];
  /** Images that no longer exist, although their digest is published. */
  readonly gone: readonly string[];
};

/**
 * Finds the published digests that a change of a tree alters. Equal inputs have the same digest as
 * before; the ledger knows the others, and nothing is built.
 * @param before the tree whose digests are published
 */
export async function findDigestChanges(
  current: Pick<Tree, "images">,
  before: Pick<Tree, "images" | "digests">,
  lookup: KeyLookup,
): Promise<DigestChanges> {
  const references = new Map<string, Digest>();
  const same = new Set<string>();
  const changed = new Map<string, string>();
  const unknown: string[] = [];
  for (const [name, plan] of current.images) {
    const published = before.images.get(name);
    const hex = before.digests.get(name);
    const known = await lookUp(plan, references, lookup);
    const isSame =
      published !== undefined &&
      hasSameOwnInputs(plan, published) &&
      plan.dependencies.every((dependency) => same.has(dependency));
    const digest = isSame && hex !== undefined ? digestFromHex(hex) : known?.digest;
    const reference = plan.platforms.length === 1 ? digest : known?.index;
    if (reference !== undefined) references.set(name, reference);
    // An unchanged image without a published line needs no new one.
    if (isSame && hex === undefined) {
      same.add(name);
      continue;
    }
    if (isSame || (plan.platforms.length === 1 && digest !== undefined && hexOf(digest) === hex))
      same.add(name);
    if (digest === undefined) unknown.push(name);
    else if (hexOf(digest) !== hex) changed.set(name, hexOf(digest));
  }
  return { changed, unknown, gone: [...before.digests.keys()].filter((name) => !current.images.has(name)) };
}

/** Looks up an image in the ledger: the first platform's manifest, and the index if known. */
async function lookUp(
  plan: BuildPlan,
  references: ReadonlyMap<string, Digest>,
  lookup: KeyLookup,
): Promise<{ digest: Digest | undefined; index: Digest | undefined } | undefined> {
  const key = inputKeyIfKnown(plan, references);
  if (key === undefined) return undefined;
  const found = await lookup(key);
  return { digest: found?.platforms[plan.platforms[0] ?? ""], index: found?.index ?? undefined };
}
