import pLimit from "p-limit";
import { type CpuVendor, tryParseCpuVendor } from "../cpu-vendor.ts";
import type { Fingerprint } from "../openpgp/fingerprint.ts";
import type { Keyring } from "../openpgp/keyring.ts";
import { verifyMessage } from "../openpgp/openpgp-message.ts";
import { quoteUntrusted, type RejectionCode, SignatureRejection } from "../openpgp/signature-rejection.ts";
import type { PinnedImage } from "../signatures/image-reference.ts";
import type { SignatureFile } from "../signatures/signature-file.ts";
import { parsePayload, type SigningPayload } from "../signatures/simple-signing.ts";
import { TrustError } from "../trust-error.ts";
import { keyOwners, type Person, type Roster } from "./roster.ts";
import { countVendors } from "./vendor-matching.ts";

/** How many must agree. StageX's is 2 people on 2 vendors. */
export type QuorumRule = {
  /** Distinct people: not keys, not subkeys, not files. At least 1. */
  readonly threshold: number;
  /**
   * Distinct CPU vendors that they built on, each of them another person's: one person with machines of two vendors is one witness, and
   * 2 vendors ask for two people even where the threshold is 1. 0 asks for none.
   */
  readonly vendors: number;
};

/** Who may attest, and how their signatures are known. */
export type Trust = { readonly roster: Roster; readonly keyring: Keyring };

/** A signature that counts. */
export type AcceptedSignature = {
  /** `signature-1`. */
  readonly file: string;
  /** The person's id in MAINTAINERS. */
  readonly person: string;
  /** Of the primary key. */
  readonly fingerprint: Fingerprint;
  /** The vendor of the machine that it was built on; null where that is not known, and then the signature counts for its person only. */
  readonly cpuVendor: CpuVendor | null;
  /** Why the vendor is not known, or how, where the signature does not say it. */
  readonly note?: string;
  /** When the signature stops to count; nothing where it never does. */
  readonly expires?: Date;
};

export type RejectedSignature = {
  readonly file: string;
  readonly code: RejectionCode;
  readonly reason: string;
};

/** What the signatures of one image come to. */
export type QuorumVerdict = {
  /** Whether enough have signed, whatever the keys in doubt turn out to be. */
  readonly met: boolean;
  /** Distinct people, of the accepted. */
  readonly people: number;
  /** For how many CPU vendors different people stand, each for one: not more than there are people. */
  readonly vendors: number;
  readonly accepted: readonly AcceptedSignature[];
  readonly rejected: readonly RejectedSignature[];
  /**
   * Why it can't be told, where there are enough signatures but not without those by keys that something unread may have revoked:
   * each file and its reason. Otherwise empty.
   */
  readonly doubts: readonly string[];
};

/** One file's signature as a person's word, or why it is none. */
type EvaluatedFile = { readonly file: string; readonly word: AcceptedSignature | SignatureRejection };

/**
 * Judges the signatures of one image. A bad one is kept with its reason and never stops the good ones; the order of the files
 * changes nothing about whether the quorum is met.
 * @param now when keys must be good: a quorum of keys that have been revoked since is none
 * @throws TrustError where the rule can't be met by anybody, or the roster gives one key to two people
 */
export async function evaluateQuorum(
  image: PinnedImage,
  signatures: readonly SignatureFile[],
  { roster, keyring }: Trust,
  rule: QuorumRule,
  now = new Date(),
): Promise<QuorumVerdict> {
  requireValidRule(rule);
  const whose = keyOwners(roster, (fingerprint) => keyring.primaryOf(fingerprint));
  // Cryptography goes on beside this thread; what counts is then decided in the order of the files.
  const several = pLimit(8);
  const words = await Promise.all(
    signatures.map((signature) =>
      several(
        async (): Promise<EvaluatedFile> => ({
          file: signature.file,
          word: await verifySignature(signature, image, keyring, whose, now).catch(toRejection),
        }),
      ),
    ),
  );
  const all = countFiles(words, rule);
  const doubtsOf = ({ word }: EvaluatedFile) =>
    word instanceof SignatureRejection ? [] : keyring.doubtsAbout(word.fingerprint);
  const certain = words.filter((word) => doubtsOf(word).length === 0);
  if (!all.met || countFiles(certain, rule).met) return { ...all, doubts: [] };
  return { ...all, met: false, doubts: [...new Set(words.flatMap(doubtsOf))] };
}

/** Counts people and vendors, in the order of the files. */
function countFiles(words: readonly EvaluatedFile[], rule: QuorumRule): Omit<QuorumVerdict, "doubts"> {
  const accepted: AcceptedSignature[] = [];
  const rejected: RejectedSignature[] = [];
  for (const { file, word } of words) {
    const one = word instanceof SignatureRejection ? word : (duplicateOf(word, accepted) ?? word);
    if (one instanceof SignatureRejection) rejected.push({ file, code: one.code, reason: one.message });
    else accepted.push(one);
  }
  const people = new Set(accepted.map(({ person }) => person)).size;
  const vendors = countVendors(accepted);
  return { met: people >= rule.threshold && vendors >= rule.vendors, people, vendors, accepted, rejected };
}

/** What is missing, or what there is, in words: `1 of 2 people (alice), 1 of 2 vendors (GenuineIntel); rejected: signature-2: …`. */
export function describeVerdict(
  { accepted, rejected, people, vendors, doubts }: QuorumVerdict,
  rule: QuorumRule,
): string {
  const names = [...new Set(accepted.map(({ person }) => person))];
  const parts = [`${people} of ${rule.threshold} people${parenthesize(names)}`];
  if (rule.vendors > 0)
    parts.push(`${vendors} of ${rule.vendors} vendors${parenthesize(vendorNames(accepted, vendors))}`);
  if (doubts.length > 0) parts.push(`but keys may be revoked: ${firstTen(doubts).join("; ")}`);
  const reasons = rejected.map(({ file, reason }) => `${file}: ${reason}`);
  return `${parts.join(", ")}${reasons.length > 0 ? `; rejected: ${firstTen(reasons).join("; ")}` : ""}`;
}

function firstTen(reasons: readonly string[]): readonly string[] {
  return reasons.length > 10 ? [...reasons.slice(0, 10), `and ${reasons.length - 10} more`] : reasons;
}

function parenthesize(names: readonly string[]): string {
  return names.length === 0 ? "" : ` (${names.join(", ")})`;
}

/** Where a person has signed on several vendors' machines there are more names than count. */
function vendorNames(accepted: readonly AcceptedSignature[], counted: number): string[] {
  const names = [...new Set(accepted.flatMap(({ cpuVendor }) => cpuVendor ?? []))];
  return names.length === counted ? names : [...names, "each counts by another person"];
}

function requireValidRule({ threshold, vendors }: QuorumRule): void {
  if (Number.isSafeInteger(threshold) && threshold >= 1 && Number.isSafeInteger(vendors) && vendors >= 0)
    return;
  throw new TrustError(
    `no rule: ${threshold} people on ${vendors} CPU vendors (at least 1 person, and 0 or more vendors)`,
  );
}

/** One file as one person's word on this image, or a Rejection. */
async function verifySignature(
  signature: SignatureFile,
  image: PinnedImage,
  keyring: Keyring,
  whose: ReadonlyMap<Fingerprint, Person>,
  now: Date,
): Promise<AcceptedSignature> {
  if ("rejection" in signature) throw signature.rejection;
  const { content, fingerprint, expires } = await verifyMessage(signature.bytes, keyring, now);
  const payload = parsePayload(content);
  requireImage(image, payload);
  const person = whose.get(fingerprint);
  if (person === undefined) {
    throw new SignatureRejection(
      "not-in-roster",
      `signed with ${fingerprint}, which is nobody's in the roster`,
    );
  }
  return {
    file: signature.file,
    person: person.id,
    fingerprint,
    ...vendorOf(payload, person),
    ...(expires === undefined ? {} : { expires }),
  };
}

function requireImage({ reference, digest }: PinnedImage, payload: SigningPayload): void {
  if (payload.digest !== digest) {
    throw new SignatureRejection(
      "other-digest",
      `signed for the manifest ${payload.digest}, not for ${digest}`,
    );
  }
  if (payload.reference !== reference) {
    throw new SignatureRejection("other-reference", `signed for ${payload.reference}, not for ${reference}`);
  }
}

/**
 * The vendor that a signature stands for: always one of whose machines the roster lists for the person, since a claim that nobody has
 * reviewed is worth nothing. Of those, what is signed decides.
 *
 * A signature that claims nothing (StageX's own scripts sign no claim) stands for the roster's vendor where all that person's machines
 * are of one, and otherwise for none. That takes nobody's unsigned word: the roster is what trust begins with, deciding whose
 * signatures count at all, and who can change it needs no claim. Nor does silence gain its signer anything: whatever they sign, they
 * get that one vendor or none, and to sign its name falsely is as easy as to say nothing. What it can't see is a machine that the
 * roster doesn't know, used in good faith; Attestation signs the vendor that it finds, so such a one adds nothing.
 */
function vendorOf(
  { builder }: SigningPayload,
  { id, machines }: Person,
): Pick<AcceptedSignature, "cpuVendor" | "note"> {
  const listedVendors = new Set(machines.map(({ cpuVendor }) => cpuVendor));
  if (builder.cpuVendor === undefined) {
    const [only] = listedVendors;
    if (listedVendors.size === 1 && only !== undefined) {
      return {
        cpuVendor: only,
        note: `the signature names no CPU vendor; all machines of ${id} are by this one`,
      };
    }
    const why =
      machines.length === 0 ? `${id} has no machine in the roster` : `${id} has machines of several vendors`;
    return { cpuVendor: null, note: `the signature names no CPU vendor, and ${why}` };
  }
  const claimed = tryParseCpuVendor(builder.cpuVendor);
  if (claimed !== undefined && listedVendors.has(claimed)) return { cpuVendor: claimed };
  return {
    cpuVendor: null,
    note: `${id} has no machine by ${quoteUntrusted(builder.cpuVendor)} in the roster`,
  };
}

/** A second word of one person adds nothing, unless it is from another vendor's machine. */
function duplicateOf(
  one: AcceptedSignature,
  accepted: readonly AcceptedSignature[],
): SignatureRejection | undefined {
  const before = accepted.filter(({ person }) => person === one.person);
  const [first] = before;
  if (first === undefined) return undefined;
  if (one.cpuVendor !== null && before.every(({ cpuVendor }) => cpuVendor !== one.cpuVendor))
    return undefined;
  return new SignatureRejection(
    "same-person",
    `${one.person} has signed already, in ${first.file}; a person counts once`,
  );
}

/** openpgp.js throws all kinds of errors at what it can't make sense of; none may keep the other files from being looked at. */
function toRejection(error: unknown): SignatureRejection {
  return error instanceof SignatureRejection
    ? error
    : new SignatureRejection("malformed", (error as Error).message);
}
