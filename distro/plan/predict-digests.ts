import { type Digest, parseDigest } from "../../oci/digest.ts";
import type { BuildPlan } from "../build-plan.ts";
import type { InputKey } from "../input-key.ts";
import type { Ledger, LedgerAnswer } from "../ledger/ledger.ts";
import { inputKeyOf, inputsOfPlan } from "./image-inputs.ts";

/** Looks up the digests of an input key; null where they are unknown. */
export type KeyLookup = (key: InputKey) => Promise<LedgerAnswer["digests"]>;

/**
 * Looks a key up in this machine's own ledger first. If that has an answer, the shared ledger, to
 * which others write, has no effect.
 */
export async function lookUpOwnFirst(
  { built, ledger }: { readonly built: Ledger; readonly ledger: Ledger },
  key: InputKey,
): ReturnType<KeyLookup> {
  const own = await built.lookUp(key);
  return own.kind === "unknown" ? (await ledger.lookUp(key)).digests : own.digests;
}

/**
 * Predicts the digests of a tree's images, as far as they are certain before a build. Where the
 * ledger knows an input key, the keys of the dependents follow.
 * @param images by name, each after all that it is built from
 * @returns by image name the digest that dependents are built from: the manifest's or, for several
 *   platforms, the index's
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

/** Computes the input key of an image from its plan and the digests of its dependencies. */
export function inputKeyOfPlan(plan: BuildPlan, dependencies: Readonly<Record<string, Digest>>): InputKey {
  return inputKeyOf({ ...inputsOfPlan(plan), dependencies });
}

/** Computes the input key of an image; undefined where the digest of a dependency is unknown. */
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
