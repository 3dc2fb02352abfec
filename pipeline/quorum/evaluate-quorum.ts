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
import type { Lookaside, SignatureFile } from "../../trust/signatures/lookaside.ts";
import type { QuorumOutputs } from "./inputs.ts";

/** An image by what its signatures call it, and the manifests that must be signed. */
export type QuorumSubject = {
  readonly reference: string;
  readonly digest: Digest;
  /** Of an image for several platforms. */
  readonly digests?: Readonly<Record<string, Digest>> | undefined;
};

/** What the signatures of all manifests of an image come to. */
export type ImageQuorum = {
  readonly outputs: QuorumOutputs;
  /** None at quorum, and none where no signature is missing. */
  readonly missing?: MissingSignatures;
  /** Whether enough have signed, with keys that a file which could not be read or applied may revoke. */
  readonly isInDoubt: boolean;
};

/** How many rejected signatures of a manifest are told of, and how long a reason is: a state is no place for others' junk. */
const shownRejections = 10;
const shownReason = 300;

/**
 * Reads the signatures of an image and judges them now.
 * @throws TrustError, UnavailableError where it can't be told
 */
export async function evaluateImageQuorum(
  subject: QuorumSubject,
  lookaside: Lookaside,
  trust: Trust,
  rule: QuorumRule,
): Promise<ImageQuorum> {
  const reference = parseTaggedReference(subject.reference);
  const outcomes: { manifest: Digest; outcome: QuorumVerdict }[] = [];
  for (const manifest of manifestsOf(subject)) {
    const files = await lookaside.read(repositoryOf(reference), manifest);
    outcomes.push({
      manifest,
      outcome: await evaluateQuorum({ reference, digest: manifest }, files, trust, rule),
    });
  }
  const met = outcomes.every(({ outcome }) => outcome.met);
  const outputs = {
    met,
    people: Math.min(...outcomes.map(({ outcome }) => outcome.people)),
    vendors: Math.min(...outcomes.map(({ outcome }) => outcome.vendors)),
    accepted: outcomes.flatMap(({ manifest, outcome }) => acceptedIn(manifest, outcome)),
    rejected: outcomes.flatMap(({ manifest, outcome }) => rejectedIn(manifest, outcome)),
  };
  const lacking = outcomes.filter(({ outcome }) => !outcome.met);
  const several = outcomes.length > 1;
  const said = wordsOn(met ? outcomes.slice(0, 1) : lacking, several && !met, rule);
  if (met)
    return { outputs: { ...outputs, words: said.join("; "), verified: subject.digest }, isInDoubt: false };
  // More signatures help where they are missing; where keys are in doubt, the words say which file is to be seen to.
  const short = lacking.filter(({ outcome }) => outcome.doubts.length === 0);
  if (short.length === 0) return { outputs: { ...outputs, words: said.join("; ") }, isInDoubt: true };
  const signers = await findSigners(trust);
  const shortfall = together(short.map(({ outcome }) => findMissingSignatures(outcome, rule, signers)));
  return {
    outputs: { ...outputs, words: `${said.join("; ")}; missing: ${describeMissingSignatures(shortfall)}` },
    missing: shortfall,
    isInDoubt: false,
  };
}

/** What is said of each manifest, or once of all where that is the same. */
function wordsOn(
  outcomes: readonly { manifest: Digest; outcome: QuorumVerdict }[],
  areNamed: boolean,
  rule: QuorumRule,
): string[] {
  const said = outcomes.map(({ manifest, outcome }) => ({
    manifest,
    words: describeVerdict(shown(outcome), rule),
  }));
  const [first, ...others] = said;
  if (first && others.length > 0 && others.every(({ words }) => words === first.words))
    return [`${first.words} (each of ${said.length} manifests)`];
  return said.map(({ manifest, words }) => (areNamed ? `${manifest.slice(0, 19)}…: ${words}` : words));
}

/** Of several manifests what the one lacks that lacks most; but each needs signatures of its own. */
function together(shortfalls: readonly MissingSignatures[]): MissingSignatures {
  const worst = shortfalls.reduce((one, other) => (other.signatures > one.signatures ? other : one));
  return { ...worst, signatures: shortfalls.reduce((sum, { signatures }) => sum + signatures, 0) };
}

/** A digest over what a lookaside holds for an image now: another one means that it is to be judged again. */
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

function acceptedIn(manifest: Digest, { accepted }: QuorumVerdict): QuorumOutputs["accepted"] {
  return accepted.map(({ file, person, fingerprint, cpuVendor }) => ({
    manifest,
    file,
    person,
    fingerprint,
    ...(cpuVendor === null ? {} : { cpuVendor }),
  }));
}

function rejectedIn(manifest: Digest, outcome: QuorumVerdict): QuorumOutputs["rejected"] {
  return shown(outcome)
    .rejected.slice(0, shownRejections)
    .map(({ file, code, reason }) => ({ manifest, file, code, reason }));
}

function shown(outcome: QuorumVerdict): QuorumVerdict {
  const shortened = (reason: string) =>
    reason.length > shownReason ? `${reason.slice(0, shownReason)}…` : reason;
  return {
    ...outcome,
    rejected: outcome.rejected.map((one) => ({ ...one, reason: shortened(one.reason) })),
  };
}
