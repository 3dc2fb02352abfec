import pLimit from "p-limit";
import { type CpuVendor, tryParseCpuVendor } from "../cpu-vendor.ts";
import type { Fingerprint } from "../openpgp/fingerprint.ts";
import type { Keyring } from "../openpgp/keyring.ts";
import { quoteUntrusted, type RejectionCode, SignatureRejection } from "../openpgp/signature-rejection.ts";
import { verifySignedMessage } from "../openpgp/signed-message.ts";
import type { PinnedImage } from "../signatures/image-reference.ts";
import type { SignatureFile } from "../signatures/signature-file.ts";
import { parsePayload, type SigningPayload } from "../signatures/simple-signing.ts";
import { TrustError } from "../trust-error.ts";
import { keyOwners, type Person, type Roster } from "./roster.ts";
import { countVendors } from "./vendor-matching.ts";

/** The number of people and CPU vendors that must agree. StageX's rule is 2 people on 2 vendors. */
export type QuorumRule = {
  /** Distinct people, at least 1. Several keys, subkeys or files of one person count once. */
  readonly threshold: number;
  /**
   * Distinct CPU vendors that they built on, each by another person. One person with machines of
   * two vendors is one witness, so 2 vendors need two people even if the threshold is 1. 0 means
   * that vendors are not checked.
   */
  readonly vendors: number;
};

/** The people who may sign, and the keys that verify their signatures. */
export type Trust = { readonly roster: Roster; readonly keyring: Keyring };

/** A signature that counts. */
export type AcceptedSignature = {
  /** `signature-1`. */
  readonly file: string;
  /** The person's id in MAINTAINERS. */
  readonly person: string;
  /** Of the primary key. */
  readonly fingerprint: Fingerprint;
  /**
   * The vendor of the machine that built the image; null if unknown: then the signature counts for
   * its person alone.
   */
  readonly cpuVendor: CpuVendor | null;
  /**
   * The reason why the vendor is unknown, or the source that it was taken from if the signature
   * names none.
   */
  readonly note?: string;
  /** The time from which the signature no longer counts; absent if it does not expire. */
  readonly expires?: Date;
};

/** A signature that does not count. */
export type RejectedSignature = {
  readonly file: string;
  readonly code: RejectionCode;
  readonly reason: string;
};

/** The verdict on the signatures of one manifest. */
export type QuorumVerdict = {
  /** Whether enough people have signed with keys that are not in doubt. */
  readonly met: boolean;
  /** Distinct people, of the accepted. */
  readonly people: number;
  /** CPU vendors that different people stand for, one each: never more than there are people. */
  readonly vendors: number;
  readonly accepted: readonly AcceptedSignature[];
  readonly rejected: readonly RejectedSignature[];
  /**
   * Reasons why the answer is not known, each with its file: there are enough signatures, but too
   * few without keys that something unread may have revoked. Otherwise empty.
   */
  readonly doubts: readonly string[];
};

/** A file, and what it was found to be. */
type EvaluatedFile = { readonly file: string; readonly result: AcceptedSignature | SignatureRejection };

/**
 * Evaluates the signatures of one manifest. A bad signature is listed with its reason and does not
 * affect the good ones. The order of the files does not change whether the quorum is met.
 * @param now the time at which keys must be good: signatures by keys that were revoked later don't
 * count
 * @throws TrustError if the rule is invalid, or the roster gives one key to two people
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
  // Cryptography runs beside this thread; duplicates are then decided in the order of the files.
  const several = pLimit(8);
  const files = await Promise.all(
    signatures.map((signature) =>
      several(
        async (): Promise<EvaluatedFile> => ({
          file: signature.file,
          result: await verifySignature(signature, image, keyring, whose, now).catch(toRejection),
        }),
      ),
    ),
  );
  const all = countFiles(files, rule);
  const doubtsOf = ({ result }: EvaluatedFile) =>
    result instanceof SignatureRejection ? [] : keyring.doubtsAbout(result.fingerprint);
  const certain = files.filter((file) => doubtsOf(file).length === 0);
  if (!all.met || countFiles(certain, rule).met) return { ...all, doubts: [] };
  return { ...all, met: false, doubts: [...new Set(files.flatMap(doubtsOf))] };
}

/** Counts people and vendors, in the order of the files. */
function countFiles(files: readonly EvaluatedFile[], rule: QuorumRule): Omit<QuorumVerdict, "doubts"> {
  const accepted: AcceptedSignature[] = [];
  const rejected: RejectedSignature[] = [];
  for (const { file, result } of files) {
    const one = result instanceof SignatureRejection ? result : (duplicateOf(result, accepted) ?? result);
    if (one instanceof SignatureRejection) rejected.push({ file, code: one.code, reason: one.message });
    else accepted.push(one);
  }
  const people = new Set(accepted.map(({ person }) => person)).size;
  const vendors = countVendors(accepted);
  return { met: people >= rule.threshold && vendors >= rule.vendors, people, vendors, accepted, rejected };
}

/**
 * Describes a verdict: `1 of 2 people (alice), 1 of 2 vendors (GenuineIntel); rejected:
 * signature-2: …`.
 */
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

/** Adds a note if more vendors are named than counted, since a person has signed on several. */
function vendorNames(accepted: readonly AcceptedSignature[], counted: number): string[] {
  const names = [...new Set(accepted.flatMap(({ cpuVendor }) => cpuVendor ?? []))];
  return names.length === counted ? names : [...names, "each counts by another person"];
}

function requireValidRule({ threshold, vendors }: QuorumRule): void {
  if (Number.isSafeInteger(threshold) && threshold >= 1 && Number.isSafeInteger(vendors) && vendors >= 0)
    return;
  throw new TrustError(
    `invalid quorum rule: ${threshold} people on ${vendors} CPU vendors (expected at least 1 person, and 0 or more vendors)`,
  );
}

/**
 * Verifies that a file is a signature of this image by a person in the roster.
 * @throws SignatureRejection
 */
async function verifySignature(
  signature: SignatureFile,
  image: PinnedImage,
  keyring: Keyring,
  whose: ReadonlyMap<Fingerprint, Person>,
  now: Date,
): Promise<AcceptedSignature> {
  if ("rejection" in signature) throw signature.rejection;
  const { content, fingerprint, expires } = await verifySignedMessage(signature.bytes, keyring, now);
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
 * Returns the vendor that a signature stands for. It is always the vendor of one of the person's
 * machines in the roster, since no one has reviewed other claims. Among those, the signed claim
 * decides.
 *
 * A signature without a claim (StageX's own scripts sign none) stands for the roster's vendor if
 * all machines of the person are by one vendor, and otherwise for none. This believes nothing
 * unsigned: trust begins with the roster, which decides whose signatures count, and whoever can
 * change it needs no claim. A signer gains nothing by leaving the claim out: they get that one
 * vendor or none either way, and could as easily sign a false name. Undetected remains a machine
 * that is not in the roster, used in good faith. Attestation signs the vendor that it detects, so
 * that such a machine adds nothing.
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

/** Rejects a further signature of one person, unless it is from another vendor's machine. */
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

/**
 * openpgp.js throws all kinds of errors on malformed input; none of them may stop the evaluation of
 * the other files.
 */
function toRejection(error: unknown): SignatureRejection {
  return error instanceof SignatureRejection
    ? error
    : new SignatureRejection("malformed", (error as Error).message);
}
