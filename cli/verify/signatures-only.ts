import { type Printable, printable, printableJson, printableLines } from "../../lib/text/printable.ts";
import { print } from "../../lib/text/terminal.ts";
import {
  describeVerdict,
  evaluateQuorum,
  type QuorumRule,
  type QuorumVerdict,
} from "../../trust/quorum/quorum.ts";
import { type PinnedImage, repositoryOf } from "../../trust/signatures/image-reference.ts";
import {
  createLookaside,
  readSignatureFolder,
  type SignatureFile,
} from "../../trust/signatures/lookaside.ts";
import { exitCode } from "../output/exit-code.ts";
import { loadTrust, type RuleOptions } from "./rule-options.ts";

/** What `stagex verify --image … --json` prints; other programs read it. */
export type QuorumJson = Pick<QuorumVerdict, "met" | "people" | "vendors" | "rejected"> & {
  /** Why it is not known; not there where it is. */
  readonly doubts?: QuorumVerdict["doubts"];
  readonly accepted: readonly Pick<
    QuorumVerdict["accepted"][number],
    "file" | "person" | "fingerprint" | "cpuVendor"
  >[];
};

/**
 * `stagex verify --image REPO:TAG@sha256:…`: the signatures alone, and no registry.
 * @returns the exit code
 */
export async function verifySignaturesOnly(
  image: PinnedImage,
  options: RuleOptions & { json?: true },
): Promise<number> {
  const trust = await loadTrust(options);
  const outcome = await evaluateQuorum(image, await signaturesAt(options.signatures, image), trust, options);
  print(options.json ? printableJson(quorumJson(outcome)) : page(outcome, image, options));
  if (outcome.doubts.length > 0) return exitCode.usage;
  return outcome.met ? exitCode.ok : exitCode.no;
}

/** A lookaside has a folder for each image; where there are signature files at the place itself, it is that folder. */
async function signaturesAt(
  place: string,
  { reference, digest }: PinnedImage,
): Promise<readonly SignatureFile[]> {
  const isServer = /^https?:/.test(place);
  const own = isServer ? [] : await readSignatureFolder(place);
  return own.length > 0 ? own : createLookaside(place).read(repositoryOf(reference), digest);
}

/** Of an outcome, what other programs may rely on. */
export function quorumJson(outcome: QuorumVerdict): QuorumJson {
  const { met, people, vendors, accepted, rejected, doubts } = outcome;
  const counted = accepted.map(({ file, person, fingerprint, cpuVendor }) => ({
    file,
    person,
    fingerprint,
    cpuVendor,
  }));
  return { met, people, vendors, accepted: counted, rejected, ...(doubts.length > 0 ? { doubts } : {}) };
}

function page(outcome: QuorumVerdict, image: PinnedImage, rule: QuorumRule): Printable {
  return printableLines([
    printable`${image.reference}@${image.digest}`,
    ...signatureLines(outcome),
    printable`${answerOf(outcome)}: ${describeVerdict({ ...outcome, rejected: [] }, rule)}`,
  ]);
}

function answerOf({ met, doubts }: QuorumVerdict): string {
  if (doubts.length > 0) return "not known";
  return met ? "quorum" : "below quorum";
}

/** A line for each signature: whose it is, or why it does not count. */
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
