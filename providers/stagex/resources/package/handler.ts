import type { Verdict } from "../../../../distro/plan/forecast.ts";
import { isDigest } from "../../../../oci/digest.ts";
import type { Workshop } from "../../../../pipeline/context/context.ts";
import { mayStay } from "../../../../pipeline/package/agreed-images.ts";
import { build } from "../../../../pipeline/package/build-image.ts";
import {
  compareWithPublished,
  newText,
  othersThanPublished,
} from "../../../../pipeline/package/check-expected-digest.ts";
import { isLikelyWitnessed, reproduced } from "../../../../pipeline/package/cross-build.ts";
import { isMissingInOut, laidOutAgain, layOut, takeOut } from "../../../../pipeline/package/export-layout.ts";
import { takeOver } from "../../../../pipeline/package/import-image.ts";
import {
  type PackageInputs,
  type PackageOutputs,
  type PackagePlan,
  packageInputs,
  packageOutputs,
  packagePlan,
} from "../../../../pipeline/package/inputs.ts";
import { recorded } from "../../../../pipeline/package/ledger-lookup.ts";
import { foretell } from "../../../../pipeline/package/predict-outputs.ts";
import { holdingOf, standingOf } from "../../../../pipeline/package/published-status.ts";
import { rebuilt } from "../../../../pipeline/package/rebuild-image.ts";
import { substituted } from "../../../../pipeline/package/substitute.ts";
import { changesBetween } from "../../protocol/detailed-diff.ts";
import type { CheckFailure, Handler, PropertyChange, Work } from "../../protocol/handler.ts";
import { isWhollyKnown } from "../../protocol/unknown-schema.ts";

type Review = NonNullable<Handler<PackagePlan, PackageInputs, PackageOutputs>["review"]>;

/** Mirrors say where bytes can be had, not which; another name is another image, and the old one's is to go. */
const rules = { ignored: ["mirrors"], replacing: ["image"] };

/** `stagex:index:Package`: an image, built from its inputs or found built from the same ones before. */
export function packageHandler(
  workshop: () => Workshop,
): Handler<PackagePlan, PackageInputs, PackageOutputs> {
  /** The images that this run has laid out: one whose resource got another name in the program is made before the old is deleted. */
  const laidOut = new Set<string>();
  /** The images of which nothing is to be done but to lay them out again. */
  const missing = new Set<string>();

  /** What was cancelled did not fail: the run did not come to its end. */
  async function make(inputs: PackageInputs, work: Work): Promise<PackageOutputs> {
    try {
      return await made(inputs, work);
    } catch (error) {
      if (!work.signal.aborted) workshop().journal.note({ image: inputs.image, origin: "failed" });
      throw error;
    }
  }

  async function made(inputs: PackageInputs, work: Work): Promise<PackageOutputs> {
    const image = (await workshop().isRebuilt(inputs.image))
      ? await rebuilt(workshop(), inputs, () => buildFrom(inputs, undefined, work), work)
      : await buildFrom(inputs, await known(inputs, work), work);
    await compareWithPublished(workshop(), inputs, image, work);
    await layOut(workshop(), inputs.image, image, work);
    laidOut.add(inputs.image);
    return image;
  }

  async function known(inputs: PackageInputs, work: Work): Promise<PackageOutputs | undefined> {
    return (await recorded(workshop(), inputs, work)) ?? (await substituted(workshop(), inputs, work));
  }

  async function buildFrom(
    inputs: PackageInputs,
    known: PackageOutputs | undefined,
    work: Work,
  ): Promise<PackageOutputs> {
    if (inputs.reproduceOn) return await reproduced(workshop(), inputs, inputs.reproduceOn, known, work);
    return known ?? (await build(workshop(), inputs, work));
  }

  /** Whether all that are asked to build the image have, as far as the ledger tells. */
  async function hasWitnesses(inputs: PackageInputs | undefined): Promise<boolean> {
    return !inputs?.reproduceOn || (await isLikelyWitnessed(workshop(), inputs, inputs.reproduceOn));
  }

  function note({ image, dependencies }: PackagePlan, verdict: Verdict): void {
    if (typeof image !== "string") return;
    workshop().outlook.note(
      image,
      verdict,
      typeof dependencies === "object" ? Object.keys(dependencies) : [],
    );
  }

  /** The outputs that a run will have, or none where the image will fail; and reports an image that is new. */
  async function comparePreviewed(
    plan: PackagePlan,
    outputs: Partial<PackageOutputs>,
    work: Work,
  ): Promise<Partial<PackageOutputs>> {
    const { image, expectedDigest: expected } = plan;
    if (typeof image !== "string" || typeof expected !== "string") return outputs;
    const { kind } = await standingOf(workshop(), plan);
    workshop().outlook.noteStanding(image, kind);
    const { digest, digests, index } = outputs;
    const found = digest && digests && { digest, digests, ...(index ? { index } : {}) };
    const [other] = found ? othersThanPublished(plan as PackageInputs, found) : [];
    if (digest && !other) return outputs;
    if (kind === "changed") work.report("info", newText(image, other?.published ?? expected));
    if (kind !== "published" || !other) return outputs;
    const known = `these inputs are known to give ${other.got}${other.of}, and the tree publishes ${other.published}`;
    work.report("warning", `${image} will fail: ${known}`);
    return {};
  }

  /** What asks for an update where the inputs are as they were: another setting, under which the outputs would not have come about. */
  async function asked(...[state, work, glance]: Parameters<Review>): Promise<PropertyChange[]> {
    const { trust, rebuild } = workshop().config;
    const [name = "", expected] = [glance("inputs", "image"), glance("inputs", "expectedDigest")];
    const isFirstEqual = expected === undefined || expected === glance("outputs", "digest");
    // Most have no further platform, and are told without being parsed.
    const isLone = ["expectedDigests", "expectedIndex"].every(
      (further) => glance("inputs", further) === undefined,
    );
    const isTold = isFirstEqual && isLone;
    const read = isTold ? undefined : state();
    const isEqual = read ? othersThanPublished(read.inputs, read.outputs).length === 0 : isFirstEqual;
    if (isEqual && expected !== undefined) workshop().outlook.noteStanding(name, "published");
    if (isEqual && rebuild === undefined && trust !== "quorum") return [];
    const found = read ?? state();
    if (found && !isEqual) {
      const { isHeld } = await holdingOf(workshop(), found.inputs);
      workshop().outlook.noteStanding(found.inputs.image, isHeld ? "published" : "changed");
      if (isHeld) {
        work.report("info", `${found.inputs.image} was new, and is held against its published digest now`);
        return [{ path: "expectedDigest", kind: "update", replaces: false }];
      }
    }
    const asksAgain: PropertyChange[] = [{ path: "origin", kind: "update", replaces: false }];
    if (found && (await workshop().isRebuilt(found.inputs.image))) return asksAgain;
    if (trust !== "quorum") return [];
    if (found && (await mayStay(workshop(), found.inputs, found.outputs))) return [];
    const doubt = found
      ? `${found.inputs.image} was taken on another's word (${found.outputs.origin})`
      : "what the state says of it can't be read, so nobody's word is known for it";
    work.report("info", `${doubt}: under stagex:trust quorum it is signed by enough people, or built here`);
    return asksAgain;
  }

  return {
    token: "stagex:index:Package",
    description:
      "An image of a StageX tree: its inputs are its sources and its dependencies' digests, its output is its own digest.",
    plan: packagePlan,
    inputs: packageInputs,
    outputs: packageOutputs,

    check: (plan, secrets) => [...bakedSecrets(secrets), ...strayMirrors(plan)],

    diff(before, after) {
      const changes = changesBetween(before, after, rules);
      if (typeof after.image === "string") missing.delete(after.image);
      const unchanged = changes.length === 0 ? packagePlan.safeParse(after).data : undefined;
      if (unchanged) {
        note(unchanged, "unchanged");
        if (typeof unchanged.image === "string")
          workshop().journal.note({ image: unchanged.image, origin: "unchanged" });
      }
      return changes;
    },

    async review(state, work, glance) {
      const changes = await asked(state, work, glance);
      const [image = "", digest = "", index = ""] = [
        glance("inputs", "image"),
        glance("outputs", "digest"),
        glance("outputs", "index"),
      ];
      if (changes.length > 0 || image === "" || !isDigest(digest) || !isDigest(index)) return changes;
      if (!(await isMissingInOut(workshop(), image, { digest, index }))) return [];
      missing.add(image);
      workshop().outlook.noteMissing(image);
      return [{ path: "out", kind: "update", replaces: false }];
    },

    async preview(plan, isNew, work) {
      const before = packageOutputs.safeParse(work.before).data;
      if (before && typeof plan.image === "string" && missing.has(plan.image)) return before;
      const inputs = isWhollyKnown(plan) ? (plan as PackageInputs) : undefined;
      const { outputs, isAtHand } = inputs
        ? await foretell(workshop(), inputs)
        : { outputs: {}, isAtHand: false };
      // What there is none of yet is built whatever its dependencies turn out to be.
      const isRebuilt = inputs !== undefined && (await workshop().isRebuilt(inputs.image));
      const isKept = isAtHand && !isRebuilt && (await hasWitnesses(inputs));
      note(plan, isKept ? "ledger" : inputs || isNew ? "will" : "may");
      return await comparePreviewed(plan, outputs, work);
    },

    create: async (inputs, work) => ({ id: inputs.image, outputs: await make(inputs, work) }),

    async update(_id, inputs, work) {
      const again = missing.has(inputs.image) ? await laidOutAgain(workshop(), inputs, work) : undefined;
      return again ?? (await make(inputs, work));
    },

    async read(id, state, work) {
      if (!state) return await takeOver(workshop(), id, work);
      const store = await workshop().store();
      const damages = await store.audit(state.outputs.index, work.signal);
      for (const { message } of damages)
        work.report("warning", `${message}\n${id} is built again by the next up`);
      if (damages.length > 0) return undefined;
      // What is lost or altered in out/ alone is laid out again.
      await layOut(workshop(), id, state.outputs, work);
      return state;
    },

    async delete(id, outputs) {
      if (laidOut.has(id)) return;
      await takeOut(workshop(), id, outputs);
    },
  };
}

/** BuildKit writes build arguments into the image's history, where anyone reads them. */
function bakedSecrets(secrets: readonly string[]): CheckFailure[] {
  return secrets
    .filter((property) => /^buildArgs\b/.test(property))
    .map((property) => ({
      property,
      reason:
        "is secret, but build arguments can be read in the image's history; a package that others rebuild has no secrets",
    }));
}

function strayMirrors({ mirrors, sources }: PackagePlan): CheckFailure[] {
  if (typeof mirrors !== "object" || typeof sources !== "object") return [];
  return Object.keys(mirrors)
    .filter((file) => !(file in sources))
    .map((file) => ({ property: `mirrors["${file}"]`, reason: "names a file that is none of the sources" }));
}
