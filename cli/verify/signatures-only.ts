import { type Printable, printable, printableJson, printableLines } from "../../lib/text/printable.ts";
import { print } from "../../lib/text/terminal.ts";
import {
  describeVerdict,
  evaluateQuorum,
  type QuorumRule,
  type QuorumVerdict,
} from "../../trust/quorum/quorum.ts";
import { type PinnedImage, repositoryOf } from "../../trust/signatures/image-reference.ts";
import { createLookaside } from "../../trust/signatures/lookaside.ts";
import { readSignatureFolder } from "../../trust/signatures/lookaside-folder.ts";
import type { SignatureFile } from "../../trust/signatures/signature-file.ts";
import { exitCode } from "../output/exit-code.ts";
import { loadTrust, type RuleOptions } from "./rule-options.ts";

/**
 * Verifies the signatures of one image and asks no registry: `stagex verify --image
 * REPO:TAG@sha256:…`.
 * @returns the exit code
 */
export async function verifySignaturesOnly(
  image: PinnedImage,
  options: RuleOptions & { json?: true },
): Promise<number> {
  const trust = await loadTrust(options);
  const verdict = await evaluateQuorum(image, await signaturesAt(options.signatures, image), trust, options);
  print(options.json ? printableJson(quorumJson(verdict)) : page(verdict, image, options));
  if (verdict.doubts.length > 0) return exitCode.usage;
  return verdict.met ? exitCode.ok : exitCode.no;
}

/**
 * Reads the signature files at the place itself, if there are any; otherwise the place is a
 * lookaside, with a folder an image.
 */
async function signaturesAt(
  place: string,
  { reference, digest }: PinnedImage,
): Promise<readonly SignatureFile[]> {
  const isServer = /^https?:/.test(place);
  const own = isServer ? [] : await readSignatureFolder(place);
  return own.length > 0 ? own : createLookaside(place).read(repositoryOf(reference), digest);
}

/**
 * Returns the JSON of a verdict. Other programs read it; `doubts` is there only where the answer is
 * not known.
 */
export function quorumJson({ met, people, vendors, accepted, rejected, doubts }: QuorumVerdict) {
  return {
    met,
    people,
    vendors,
    accepted: accepted.map(({ file, person, fingerprint, cpuVendor }) => ({
      file,
      person,
      fingerprint,
      cpuVendor,
    })),
    rejected,
    ...(doubts.length > 0 ? { doubts } : {}),
  };
}

function page(verdict: QuorumVerdict, image: PinnedImage, rule: QuorumRule): Printable {
  return printableLines([
    printable`${image.reference}@${image.digest}`,
    ...signatureLines(verdict),
    printable`${answerOf(verdict)}: ${describeVerdict({ ...verdict, rejected: [] }, rule)}`,
  ]);
}

function answerOf({ met, doubts }: QuorumVerdict): string {
  if (doubts.length > 0) return "not known";
  return met ? "quorum" : "below quorum";
}

/** Formats a line for each signature: its signer, or the reason why it does not count. */
export function signatureLines({
  accepted,
  rejected,
}: Pick<QuorumVerdict, "accepted" | "rejected">): Printable[] {
  return [
    ...accepted.map(
      ({ file, person, fingerprint, cpuVendor, note }) =>
        printable`  ${file}  ${person} (${fingerprint}), ${cpuVendor ?? `no vendor: ${note}`}`,
    ),
    ...rejected.map(({ file, code, reason }) => printable`  ${file}  does not count (${code}): ${reason}`),
  ];
}
