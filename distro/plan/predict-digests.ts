import { type Digest, parseDigest } from "../../oci/digest.ts";
import type { BuildPlan } from "../build-plan.ts";
import type { InputKey } from "../input-key.ts";
import type { Ledger, LedgerAnswer } from "../ledger/ledger.ts";
import { inputKeyOf, inputsOfPlan } from "./image-inputs.ts";

/** What is known of an input key, as {@link Ledger.lookUp} tells it; null where nothing is. */
export type KeyLookup = (key: InputKey) => Promise<LedgerAnswer["digests"]>;

/**
 * Looks a key up where nobody else writes first: what a ledger of others' says besides, or against it, then changes nothing.
 */
export async function lookUpOwnFirst(
  { built, ledger }: { readonly built: Ledger; readonly ledger: Ledger },
  key: InputKey,
): ReturnType<KeyLookup> {
  const own = await built.lookUp(key);
  return own.kind === "unknown" ? (await ledger.lookUp(key)).digests : own.digests;
}

/**
 * The digests that the images of a tree will have, as far as they are certain before anything is built: the ledger knows
 * the input key, and with it those of the dependents can be made. By image name: what dependents are built from, the
 * manifest's digest or, for several platforms, the index's.
 * @param images by name, each after all that it is built from
 */
export async function predictDigests(
  images: ReadonlyMap<string, BuildPlan>,
  lookup: KeyLookup,
): Promise<Map<string, Digest>> {
  const asked = new Map<string, Promise<Digest | undefined>>();
  for (const [name, plan] of images) asked.set(name, ask(plan, asked, lookup));
  const known = new Map<string, Digest>();
  for (const [name, answer] of asked) {
    const digest = await answer;
    if (digest !== undefined) known.set(name, digest);
  }
  return known;
}

/** The input key of an image, once the digests of all that it is built from are known. */
export function inputKeyOfPlan(plan: BuildPlan, dependencies: Readonly<Record<string, Digest>>): InputKey {
  return inputKeyOf({ ...inputsOfPlan(plan), dependencies });
}

/** The input key of an image; undefined where the digest of something that it is built from is not known. */
export function inputKeyIfKnown(plan: BuildPlan, digests: ReadonlyMap<string, Digest>): InputKey | undefined {
  const dependencies: Record<string, Digest> = {};
  for (const name of plan.dependencies) {
    const digest = digests.get(name);
    if (digest === undefined) return undefined;
    dependencies[name] = digest;
  }
  return inputKeyOfPlan(plan, dependencies);
}

async function ask(
  plan: BuildPlan,
  asked: ReadonlyMap<string, Promise<Digest | undefined>>,
  lookup: KeyLookup,
): Promise<Digest | undefined> {
  const dependencies: Record<string, Digest> = {};
  for (const name of plan.dependencies) {
    const digest = await asked.get(name);
    if (digest === undefined) return undefined;
    dependencies[name] = digest;
  }
  const digests = await lookup(inputKeyOfPlan(plan, dependencies));
  const [first = "", ...others] = plan.platforms;
  const digest = others.length > 0 ? digests?.index : digests?.platforms[first];
  return digest ? parseDigest(digest) : undefined;
}
