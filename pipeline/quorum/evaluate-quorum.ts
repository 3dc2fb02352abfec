import { type Digest, digestOf } from "../../oci/digest.ts";
import {
  describeMissingSignatures,
  findMissingSignatures,
  findSigners,
  type MissingSignatures,
} from "../../trust/quorum/missing-signatures.ts";
import {
  describeVerdict,
  evaluateQuorum,
  type QuorumRule,
  type QuorumVerdict,
  type Trust,
} from "../../trust/quorum/quorum.ts";
import { parseTaggedReference, repositoryOf } from "../../trust/signatures/image-reference.ts";
import type { Lookaside } from "../../trust/signatures/lookaside.ts";
import type { SignatureFile } from "../../trust/signatures/signature-file.ts";
import type { QuorumOutputs } from "./inputs.ts";

/** An image under the name that its signatures have, and the manifests that must be signed. */
export type QuorumSubject = {
  readonly reference: string;
  readonly digest: Digest;
  /** One manifest for each platform, if the image is for several. */
  readonly digests?: Readonly<Record<string, Digest>> | undefined;
};

/** The quorum of an image, all its manifests together, as it is shown and kept in the state. */
export type ImageQuorum = {
  readonly outputs: QuorumOutputs;
  /**
   * Absent at quorum, and where keys that may be revoked decide: then more signatures are no
   * remedy.
   */
  readonly missing?: MissingSignatures;
};

/** The verdict on one of an image's manifests. */
type ManifestVerdict = { readonly manifest: Digest; readonly verdict: QuorumVerdict };

/**
 * Bounds for rejected signatures of a manifest, and characters of a reason: anyone can add to a
 * lookaside, and so to a state.
 */
const maxShownRejections = 10;
const maxShownReason = 300;

/**
 * Returns whether enough people have signed, some of them with keys that something unread among the
 * keys may revoke.
 */
export function isInDoubt({ outputs, missing }: ImageQuorum): boolean {
  return !outputs.met && missing === undefined;
}

/**
 * Reads the signatures of all manifests of an image and evaluates them now.
 * @throws TrustError, UnavailableError where the signatures can't be known
 */
export async function evaluateImageQuorum(
  subject: QuorumSubject,
  lookaside: Lookaside,
  trust: Trust,
  rule: QuorumRule,
): Promise<ImageQuorum> {
  const reference = parseTaggedReference(subject.reference);
  const all: ManifestVerdict[] = [];
  for (const manifest of manifestsOf(subject)) {
    const files = await lookaside.read(repositoryOf(reference), manifest);
    const verdict = await evaluateQuorum({ reference, digest: manifest }, files, trust, rule);
    all.push({ manifest, verdict });
  }
  const unmet = all.filter(({ verdict }) => !verdict.met);
  const met = unmet.length === 0;
  const words = describeManifests(met ? all.slice(0, 1) : unmet, all.length > 1 && !met, rule);
  const outputs = {
    met,
    people: Math.min(...all.map(({ verdict }) => verdict.people)),
    vendors: Math.min(...all.map(({ verdict }) => verdict.vendors)),
    accepted: all.flatMap(acceptedOf),
    rejected: all.flatMap(rejectedOf),
    words,
  };
  if (met) return { outputs: { ...outputs, verified: subject.digest } };
  // Where keys are in doubt, the words name the file; more signatures help only the other manifests.
  const lacking = unmet.filter(({ verdict }) => verdict.doubts.length === 0);
  if (lacking.length === 0) return { outputs };
  const signers = await findSigners(trust);
  const missing = sumMissing(lacking.map(({ verdict }) => findMissingSignatures(verdict, rule, signers)));
  return {
    outputs: { ...outputs, words: `${words}; missing: ${describeMissingSignatures(missing)}` },
    missing,
  };
}

/** Describes each manifest's verdict, or all at once where they are alike. */
function describeManifests(
  verdicts: readonly ManifestVerdict[],
  areNamed: boolean,
  rule: QuorumRule,
): string {
  const described = verdicts.map(({ manifest, verdict }) => ({
    manifest,
    words: describeVerdict(withShortReasons(verdict), rule),
  }));
  const [first, ...others] = described;
  if (first && others.length > 0 && others.every(({ words }) => words === first.words))
    return `${first.words} (each of ${described.length} manifests)`;
  return described
    .map(({ manifest, words }) => (areNamed ? `${manifest.slice(0, 19)}…: ${words}` : words))
    .join("; ");
}

/**
 * Takes what the manifest that lacks most lacks, with the signatures of all: each manifest needs
 * its own.
 */
function sumMissing(all: readonly MissingSignatures[]): MissingSignatures {
  const worst = all.reduce((one, other) => (other.signatures > one.signatures ? other : one));
  return { ...worst, signatures: all.reduce((sum, { signatures }) => sum + signatures, 0) };
}

/**
 * Returns a digest over what a lookaside has for an image. A new digest means that the image is to
 * be evaluated again.
 */
export async function digestOfSignatures(subject: QuorumSubject, lookaside: Lookaside): Promise<Digest> {
  const repository = repositoryOf(parseTaggedReference(subject.reference));
  const held: object[] = [];
  for (const manifest of manifestsOf(subject)) {
    const files = await lookaside.read(repository, manifest);
    held.push({ manifest, files: files.map(contentOf) });
  }
  return digestOf(JSON.stringify(held));
}

function manifestsOf({ digest, digests = {} }: QuorumSubject): readonly Digest[] {
  return [...new Set([digest, ...Object.values(digests)])];
}

function contentOf(file: SignatureFile): object {
  return "bytes" in file
    ? { file: file.file, content: digestOf(file.bytes) }
    : { file: file.file, rejected: file.rejection.code };
}

function acceptedOf({ manifest, verdict }: ManifestVerdict): QuorumOutputs["accepted"] {
  return verdict.accepted.map(({ file, person, fingerprint, cpuVendor }) => ({
    manifest,
    file,
    person,
    fingerprint,
    ...(cpuVendor === null ? {} : { cpuVendor }),
  }));
}

function rejectedOf({ manifest, verdict }: ManifestVerdict): QuorumOutputs["rejected"] {
  return withShortReasons(verdict)
    .rejected.slice(0, maxShownRejections)
    .map(({ file, code, reason }) => ({ manifest, file, code, reason }));
}

function withShortReasons(verdict: QuorumVerdict): QuorumVerdict {
  const shorten = (reason: string) =>
    reason.length > maxShownReason ? `${reason.slice(0, maxShownReason)}…` : reason;
  return {
    ...verdict,
    rejected: verdict.rejected.map((one) => ({ ...one, reason: shorten(one.reason) })),
  };
}
