import { type Printable, printable, printableJson, printableLines } from "../../lib/text/printable.ts";
import { print } from "../../lib/text/terminal.ts";
import { judge, type QuorumOutcome, type QuorumRule, wordsOf } from "../../trust/quorum/quorum.ts";
import { type PinnedImage, repositoryOf } from "../../trust/signatures/image-reference.ts";
import { lookasideAt, readSignatures, type SignatureFile } from "../../trust/signatures/lookaside.ts";
import { exitCode } from "../output/exit-code.ts";
import { type RuleOptions, trustOf } from "./rule-options.ts";

/** What `stagex verify --image … --json` prints; other programs read it. */
export type ShownOutcome = Pick<QuorumOutcome, "met" | "people" | "vendors" | "rejected"> & {
  /** Why it is not known; not there where it is. */
  readonly doubts?: QuorumOutcome["doubts"];
  readonly accepted: readonly Pick<
    QuorumOutcome["accepted"][number],
    "file" | "person" | "fingerprint" | "cpuVendor"
  >[];
};

/**
 * `stagex verify --image REPO:TAG@sha256:…`: the signatures alone, and no registry.
 * @returns the exit code
 */
export async function verifyPinned(
  image: PinnedImage,
  options: RuleOptions & { json?: true },
): Promise<number> {
  const trust = await trustOf(options);
  const outcome = await judge(image, await signaturesAt(options.signatures, image), trust, options);
  print(options.json ? printableJson(shownOutcome(outcome)) : page(outcome, image, options));
  if (outcome.doubts.length > 0) return exitCode.usage;
  return outcome.met ? exitCode.ok : exitCode.no;
}

/** A lookaside has a folder for each image; where there are signature files at the place itself, it is that folder. */
async function signaturesAt(
  place: string,
  { reference, digest }: PinnedImage,
): Promise<readonly SignatureFile[]> {
  const isServer = /^https?:/.test(place);
  const own = isServer ? [] : await readSignatures(place);
  return own.length > 0 ? own : lookasideAt(place).read(repositoryOf(reference), digest);
}

/** Of an outcome, what other programs may rely on. */
export function shownOutcome(outcome: QuorumOutcome): ShownOutcome {
  const { met, people, vendors, accepted, rejected, doubts } = outcome;
  const counted = accepted.map(({ file, person, fingerprint, cpuVendor }) => ({
    file,
    person,
    fingerprint,
    cpuVendor,
  }));
  return { met, people, vendors, accepted: counted, rejected, ...(doubts.length > 0 ? { doubts } : {}) };
}

function page(outcome: QuorumOutcome, image: PinnedImage, rule: QuorumRule): Printable {
  return printableLines([
    printable`${image.reference}@${image.digest}`,
    ...signatureLines(outcome),
    printable`${answerOf(outcome)}: ${wordsOf({ ...outcome, rejected: [] }, rule)}`,
  ]);
}

function answerOf({ met, doubts }: QuorumOutcome): string {
  if (doubts.length > 0) return "not known";
  return met ? "quorum" : "below quorum";
}

/** A line for each signature: whose it is, or why it does not count. */
export function signatureLines({
  accepted,
  rejected,
}: Pick<QuorumOutcome, "accepted" | "rejected">): Printable[] {
  return [
    ...accepted.map(
      ({ file, person, fingerprint, cpuVendor, note }) =>
        printable`  ${file}  ${person} (${fingerprint}), ${cpuVendor ?? `no vendor: ${note}`}`,
    ),
    ...rejected.map(({ file, code, reason }) => printable`  ${file}  does not count (${code}): ${reason}`),
  ];
}
