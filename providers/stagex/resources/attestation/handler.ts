import type { Digest } from "../../../../oci/digest.ts";
import { requireAttestableBuild } from "../../../../pipeline/attestation/attestable-build.ts";
import { NotBuiltHereError } from "../../../../pipeline/attestation/built-here.ts";
import {
  countedVendorOf,
  createPayload,
  type FoundSignature,
  findSignatureBy,
  pinnedImage,
  requireSignatureCounts,
  requireWritable,
} from "../../../../pipeline/attestation/signature.ts";
import type { Context } from "../../../../pipeline/context/context.ts";
import { requirePerson } from "../../../../pipeline/context/signer.ts";
import type { Operation } from "../../../../pipeline/operation.ts";
import { type CpuVendor, tryParseCpuVendor } from "../../../../trust/cpu-vendor.ts";
import { repositoryOf } from "../../../../trust/signatures/image-reference.ts";
import type { Lookaside } from "../../../../trust/signatures/lookaside.ts";
import { detailedDiff } from "../../protocol/detailed-diff.ts";
import type { ResourceHandler } from "../../protocol/handler.ts";
import {
  type AttestationInputs,
  type AttestationOutputs,
  attestationDefinition,
  attestationInputs,
} from "./definition.ts";

type Found = AttestationOutputs["signatures"][string];

/**
 * Another image or person is another attestation. The old one's signatures stay in the lookaside.
 */
const rules = { ignored: [], replacing: ["image", "person"] };

/** Handles `stagex:index:Attestation`. */
export function attestationHandler(context: () => Context): ResourceHandler<typeof attestationDefinition> {
  /** Makes the missing signatures. Signatures that exist and count stay as they are. */
  async function attest(inputs: AttestationInputs, operation: Operation): Promise<AttestationOutputs> {
    const trust = await context().trust();
    const person = requirePerson(trust, inputs.person);
    const builds = await requireAttestableBuild(context(), inputs);
    const lookaside = await context().lookaside();
    const signatures: Record<string, Found> = {};
    for (const [digest, record] of builds) {
      const vendor = countedVendorOf(record, person);
      if (vendor === undefined)
        warnOfVendor(record.builder.facts?.cpuVendor ?? "unknown", person.id, operation);
      const image = pinnedImage(inputs.reference, digest);
      const repository = repositoryOf(image.reference);
      const present = await findSignatureBy(
        person,
        vendor,
        image,
        await lookaside.read(repository, digest),
        trust,
      );
      if (present) {
        signatures[digest] = foundOf(present);
        continue;
      }
      const folder = requireWritable(lookaside, context().config.signatures);
      const signatory = await context().signer(person.id);
      const bytes = await signatory.sign(createPayload(inputs.reference, digest, record), operation);
      const warning = await requireSignatureCounts(bytes, image, person, vendor, trust);
      if (warning !== undefined) operation.report("warning", warning);
      const file = await folder.write(repository, digest, bytes);
      const made = await findSignatureBy(person, vendor, image, [{ file, bytes }], trust);
      if (made) signatures[digest] = foundOf(made);
    }
    return { signatures };
  }

  let hasReportedKept = false;
  const warned = new Set<string>();
  function warnOfVendor(cpuVendor: string, person: string, operation: Operation): void {
    if (warned.has(cpuVendor)) return;
    warned.add(cpuVendor);
    operation.report(
      "warning",
      `${person} has no machine by ${cpuVendor} in MAINTAINERS: signatures of builds on this machine count for the person, and for no CPU vendor`,
    );
  }

  /** Returns the signatures that exist and count, each for its vendor. */
  async function present(
    { reference, person: id }: AttestationInputs,
    vendors: ReadonlyMap<Digest, CpuVendor | undefined>,
  ): Promise<Record<string, Found>> {
    const trust = await context().trust();
    const person = requirePerson(trust, id);
    const lookaside: Lookaside = await context().lookaside();
    const found: Record<string, Found> = {};
    for (const [digest, vendor] of vendors) {
      const image = pinnedImage(reference, digest);
      const files = await lookaside.read(repositoryOf(image.reference), digest);
      const one = await findSignatureBy(person, vendor, image, files, trust);
      if (one) found[digest] = foundOf(one);
    }
    return found;
  }

  return {
    ...attestationDefinition,

    check: () => [],
    diff: (before, after) => detailedDiff(before, after, rules),

    async preview(plan, _isNew, operation) {
      const inputs = attestationInputs.safeParse(plan).data;
      if (!inputs) return {};
      const person = requirePerson(await context().trust(), inputs.person);
      try {
        const builds = await requireAttestableBuild(context(), inputs);
        const vendors = [...builds].map(
          ([digest, record]) => [digest, countedVendorOf(record, person)] as const,
        );
        const signatures = await present(inputs, new Map(vendors));
        return Object.keys(signatures).length === builds.size ? { signatures } : {};
      } catch (error) {
        if (!(error instanceof NotBuiltHereError)) throw error;
        // The run may build the image first.
        operation.report(
          "info",
          `${inputs.image} can be attested once it and its dependencies are built here`,
        );
        return {};
      }
    },

    create: async (inputs, operation) => ({ id: inputs.image, outputs: await attest(inputs, operation) }),
    update: (_id, inputs, operation) => attest(inputs, operation),

    async read(id, state, operation) {
      if (!state) {
        throw new Error(
          `an attestation cannot be imported: set stagex:attest, and the next up finds the existing signature of ${id}`,
        );
      }
      const vendors = Object.values(state.inputs.digests).map(
        (digest) => [digest, tryParseCpuVendor(state.outputs.signatures[digest]?.cpuVendor ?? "")] as const,
      );
      const found = await present(state.inputs, new Map(vendors));
      const lost = Object.values(state.inputs.digests).filter((digest) => !found[digest]);
      for (const digest of lost) {
        const file = state.outputs.signatures[digest]?.file;
        operation.report(
          "warning",
          `${file} of ${state.inputs.reference}@${digest} is missing, damaged or no longer counts; the next up signs ${id} again`,
        );
      }
      return lost.length > 0 ? undefined : { ...state, outputs: { signatures: found } };
    },

    async delete(_id, _outputs, operation) {
      if (hasReportedKept) return;
      hasReportedKept = true;
      operation.report(
        "info",
        "signatures cannot be withdrawn: all of them stay in the lookaside. To disown them, revoke the key or remove it from MAINTAINERS",
      );
    },
  };
}

function foundOf({ file, fingerprint, sha256, cpuVendor }: FoundSignature): Found {
  return { file, fingerprint, sha256, cpuVendor: cpuVendor ?? "" };
}
