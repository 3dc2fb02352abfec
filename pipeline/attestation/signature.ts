import type { LedgerRecord } from "../../distro/ledger/ledger.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { type CpuVendor, tryParseCpuVendor } from "../../trust/cpu-vendor.ts";
import { type AcceptedSignature, evaluateQuorum, type Trust } from "../../trust/quorum/quorum.ts";
import type { Person } from "../../trust/quorum/roster.ts";
import { type PinnedImage, parseTaggedReference } from "../../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../../trust/signatures/lookaside-folder.ts";
import type { SignatureFile } from "../../trust/signatures/signature-file.ts";
import { serializePayload } from "../../trust/signatures/simple-signing.ts";
import { TrustError } from "../../trust/trust-error.ts";
import { builderClaimOf } from "./built-here.ts";

/** A quorum of one, which keeps every signature that counts. */
const singleSignature = { threshold: 1, vendors: 0 };

/** A signature that counts, and the digest of its bytes. */
export type FoundSignature = AcceptedSignature & { readonly sha256: Digest };

/**
 * Returns the CPU vendor that a signature counts for: that of the build, if the roster has such a
 * machine of the person.
 */
export function countedVendorOf({ builder: { facts } }: LedgerRecord, person: Person): CpuVendor | undefined {
  const vendor = tryParseCpuVendor(facts?.cpuVendor ?? "");
  return person.machines.some(({ cpuVendor }) => cpuVendor === vendor) ? vendor : undefined;
}

/**
 * Finds a person's valid signature among these files, with this CPU vendor if one is given. Invalid
 * ones are ignored.
 */
export async function findSignatureBy(
  person: Person,
  vendor: CpuVendor | undefined,
  image: PinnedImage,
  files: readonly SignatureFile[],
  trust: Trust,
): Promise<FoundSignature | undefined> {
  const { accepted } = await evaluateQuorum(image, files, trust, singleSignature);
  const found = accepted.find(
    (one) => one.person === person.id && (vendor === undefined || one.cpuVendor === vendor),
  );
  const file = found && files.find((one) => one.file === found.file);
  return file && "bytes" in file ? { ...found, sha256: digestOf(file.bytes) } : undefined;
}

/** Writes the bytes to sign for an image that was built here. */
export function createPayload(
  reference: string,
  digest: Digest,
  record: LedgerRecord,
  now = new Date(),
): Uint8Array {
  const timestamp = Math.floor(now.getTime() / 1000);
  return serializePayload({
    reference,
    digest,
    creator: "stagex-pulumi",
    timestamp,
    builder: builderClaimOf(record),
  });
}

/**
 * Requires, before a signature is stored, that it will count for this person, image and CPU vendor.
 * @returns a warning where the signature expires, since the image then falls below quorum
 * @throws TrustError with the reason
 */
export async function requireSignatureCounts(
  bytes: Uint8Array,
  image: PinnedImage,
  person: Person,
  vendor: CpuVendor | undefined,
  trust: Trust,
): Promise<string | undefined> {
  const file = "the new signature";
  const { accepted, rejected } = await evaluateQuorum(image, [{ file, bytes }], trust, singleSignature);
  const [one] = accepted;
  if (one?.person === person.id && (vendor === undefined || one.cpuVendor === vendor))
    return one.expires === undefined ? undefined : expiryWarning(image, one.expires);
  const why = rejected[0]?.reason ?? (one?.person === person.id ? one.note : `it is by ${one?.person}`);
  throw new TrustError(`the signature of ${image.reference} would not count: ${why}`);
}

function expiryWarning({ reference }: PinnedImage, expires: Date): string {
  return `the signature of ${reference} expires on ${expires.toISOString().slice(0, 10)} and counts no more from then on; to sign without an expiry, take default-sig-expire and ask-sig-expire out of gpg.conf`;
}

/** Requires a lookaside that can be written. @throws TrustError where it can only be read */
export function requireWritable(lookaside: object, where: string | undefined): LookasideFolder {
  if (lookaside instanceof LookasideFolder) return lookaside;
  throw new TrustError(
    `the lookaside ${where} can be read only; attest into a folder, such as its git checkout: pulumi config set stagex:signatures FOLDER`,
  );
}

/** Returns the image as a signature names it. */
export function pinnedImage(reference: string, digest: Digest): PinnedImage {
  return { reference: parseTaggedReference(reference), digest };
}
