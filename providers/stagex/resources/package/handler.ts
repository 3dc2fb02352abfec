import type { CheckFailure } from "../../../../config/check-failures.ts";
import type { ForecastStatus } from "../../../../distro/plan/forecast.ts";
import { isDigest } from "../../../../oci/digest.ts";
import type { Context } from "../../../../pipeline/context/context.ts";
import type { Operation } from "../../../../pipeline/operation.ts";
import { findMismatches, newImageText } from "../../../../pipeline/package/check-expected-digest.ts";
import { exportLayout, isExportMissing, removeExport } from "../../../../pipeline/package/export-layout.ts";
import { importImage } from "../../../../pipeline/package/import-image.ts";
import {
  type PackageInputs,
  type PackageOutputs,
  type PackagePreview,
  packageOutputs,
  packagePreview,
} from "../../../../pipeline/package/inputs.ts";
import { makePackage } from "../../../../pipeline/package/make-package.ts";
import { predictOutputs } from "../../../../pipeline/package/predict-outputs.ts";
import { digestRequirementOf, publishedStatusOf } from "../../../../pipeline/package/published-status.ts";
import { mayKeepOutputs } from "../../../../pipeline/package/quorum-records.ts";
import { isFullyKnown } from "../../../../pipeline/unknown-schema.ts";
import { detailedDiff } from "../../protocol/detailed-diff.ts";
import type { PropertyChange, ResourceHandler } from "../../protocol/handler.ts";
import { packageDefinition } from "./definition.ts";

type Review = NonNullable<ResourceHandler<typeof packageDefinition>["review"]>;

/**
 * Mirrors are places of bytes, not their content. Another name is another image, and the old one is
 * deleted.
 */
const rules = { ignored: ["mirrors"], replacing: ["image"] };

/** Handles `stagex:index:Package`. */
export function packageHandler(context: () => Context): ResourceHandler<typeof packageDefinition> {
  /**
   * The images exported in this run. A resource renamed in the program is created before the old
   * one is deleted.
   */
  const laidOut = new Set<string>();
  /** The images that need only a new export. */
  const missing = new Set<string>();

  async function make(inputs: PackageInputs, operation: Operation): Promise<PackageOutputs> {
    const outputs = await makePackage(context(), inputs, operation, missing.has(inputs.image));
    laidOut.add(inputs.image);
    return outputs;
  }

  function note({ image, dependencies }: PackagePreview, verdict: ForecastStatus): void {
    if (typeof image !== "string") return;
    context().previewForecast.noteImage(
      image,
      verdict,
      typeof dependencies === "object" ? Object.keys(dependencies) : [],
    );
  }

  /**
   * Returns the outputs that a run will have, or none if the image will fail. Reports an image that
   * is new.
   */
  async function comparePreviewed(
    plan: PackagePreview,
    outputs: Partial<PackageOutputs>,
    operation: Operation,
  ): Promise<Partial<PackageOutputs>> {
    const { image, expectedDigest: expected } = plan;
    if (typeof image !== "string" || typeof expected !== "string") return outputs;
    const { kind } = await publishedStatusOf(context(), plan);
    context().previewForecast.notePublishedStatus(image, kind);
    const { digest, digests, index } = outputs;
    const found = digest && digests && { digest, digests, ...(index ? { index } : {}) };
    const [other] = found ? findMismatches(plan as PackageInputs, found) : [];
    if (digest && !other) return outputs;
    if (kind === "changed") operation.report("info", newImageText(image, other?.published ?? expected));
    if (kind !== "published" || !other) return outputs;
    const known = `these inputs are known to give ${other.got}${other.of}, and the tree publishes ${other.published}`;
    operation.report("warning", `${image} will fail: ${known}`);
    return {};
  }

  /**
   * Finds reasons for an update if the inputs are unchanged, such as a setting that the outputs do
   * not satisfy.
   */
  async function findFurtherChanges(
    ...[state, operation, glance]: Parameters<Review>
  ): Promise<PropertyChange[]> {
    const { substituteTrust: trust, rebuild } = context().config;
    const [name = "", expected] = [glance("inputs", "image"), glance("inputs", "expectedDigest")];
    const isFirstEqual = expected === undefined || expected === glance("outputs", "digest");
    // Most packages have one platform, and need no parsing.
    const isLone = ["expectedDigests", "expectedIndex"].every(
      (further) => glance("inputs", further) === undefined,
    );
    const isTold = isFirstEqual && isLone;
    const read = isTold ? undefined : state();
    const isEqual = read ? findMismatches(read.inputs, read.outputs).length === 0 : isFirstEqual;
    if (isEqual && expected !== undefined) context().previewForecast.notePublishedStatus(name, "published");
    if (isEqual && rebuild === undefined && trust !== "quorum") return [];
    const found = read ?? state();
    if (found && !isEqual) {
      const { mustMatch: isHeld } = await digestRequirementOf(context(), found.inputs);
      context().previewForecast.notePublishedStatus(found.inputs.image, isHeld ? "published" : "changed");
      if (isHeld) {
        operation.report("info", `${found.inputs.image} was new, and must have its published digest now`);
        return [{ path: "expectedDigest", kind: "update", replaces: false }];
      }
    }
    const asksAgain: PropertyChange[] = [{ path: "origin", kind: "update", replaces: false }];
    if (found && (await context().isRebuilt(found.inputs.image))) return asksAgain;
    if (trust !== "quorum") return [];
    if (found && (await mayKeepOutputs(context(), found.inputs, found.outputs))) return [];
    const doubt = found
      ? `${found.inputs.image} came from others (${found.outputs.origin})`
      : "its state cannot be read, so its origin is unknown";
    operation.report(
      "info",
      `${doubt}: stagex:substituteTrust quorum requires enough signatures, or a build here`,
    );
    return asksAgain;
  }

  return {
    ...packageDefinition,

    check: (plan, secrets) => [...checkBuildArgs(secrets), ...checkMirrors(plan)],

    diff(before, after) {
      const changes = detailedDiff(before, after, rules);
      if (typeof after.image === "string") missing.delete(after.image);
      const unchanged = changes.length === 0 ? packagePreview.safeParse(after).data : undefined;
      if (unchanged) {
        note(unchanged, "unchanged");
        if (typeof unchanged.image === "string")
          context().runReport.note({ image: unchanged.image, origin: "unchanged" });
      }
      return changes;
    },

    async review(state, operation, glance) {
      const changes = await findFurtherChanges(state, operation, glance);
      const [image = "", digest = "", index = ""] = [
        glance("inputs", "image"),
        glance("outputs", "digest"),
        glance("outputs", "index"),
      ];
      if (changes.length > 0 || image === "" || !isDigest(digest) || !isDigest(index)) return changes;
      if (!(await isExportMissing(context(), image, { digest, index }))) return [];
      missing.add(image);
      context().previewForecast.noteMissingExport(image);
      return [{ path: "out", kind: "update", replaces: false }];
    },

    async preview(plan, isNew, operation) {
      const before = packageOutputs.safeParse(operation.before).data;
      if (before && typeof plan.image === "string" && missing.has(plan.image)) return before;
      const inputs = isFullyKnown(plan) ? (plan as PackageInputs) : undefined;
      const { outputs, isAvailable } = inputs
        ? await predictOutputs(context(), inputs)
        : { outputs: {}, isAvailable: false };
      // What there is none of yet is built whatever its dependencies turn out to be.
      note(plan, isAvailable ? "ledger" : inputs || isNew ? "will" : "may");
      return await comparePreviewed(plan, outputs, operation);
    },

    create: async (inputs, operation) => ({ id: inputs.image, outputs: await make(inputs, operation) }),

    update: (_id, inputs, operation) => make(inputs, operation),

    async read(id, state, operation) {
      if (!state) return await importImage(context(), id, operation);
      const store = await context().store();
      const damages = await store.audit(state.outputs.index, operation.signal);
      for (const { message } of damages)
        operation.report("warning", `${message}\n${id} is built again by the next up`);
      if (damages.length > 0) return undefined;
      // Missing or altered files in out/ are exported again.
      await exportLayout(context(), id, state.outputs, operation);
      return state;
    },

    async delete(id, outputs) {
      if (laidOut.has(id)) return;
      await removeExport(context(), id, outputs);
    },
  };
}

/**
 * Refuses secret build arguments: BuildKit writes them into the image's history, which anyone can
 * read.
 */
function checkBuildArgs(secrets: readonly string[]): CheckFailure[] {
  return secrets
    .filter((property) => /^buildArgs\b/.test(property))
    .map((property) => ({
      property,
      reason:
        "is secret, but anyone can read build arguments in the image's history; a reproducible package has no secrets",
    }));
}

function checkMirrors({ mirrors, sources }: PackagePreview): CheckFailure[] {
  if (typeof mirrors !== "object" || typeof sources !== "object") return [];
  return Object.keys(mirrors)
    .filter((file) => !(file in sources))
    .map((file) => ({
      property: `mirrors["${file}"]`,
      reason: "names a file that is not among the sources",
    }));
}
