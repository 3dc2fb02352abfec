import { groupMessages } from "../../lib/text/grouped-messages.ts";
import { type Printable, printable, printableLines } from "../../lib/text/printable.ts";
import { formatTable } from "../../lib/text/text-table.ts";
import { exitCode } from "../output/exit-code.ts";
import { type QuorumJson, quorumJson, signatureLines } from "./signatures-only.ts";
import { describeStatementSigners } from "./statement-signers.ts";
import type { VerifyResult } from "./verify-image.ts";

/** What `stagex verify IMAGE… --json` prints of each platform's image; other programs read it. */
export type VerifyResultJson = Pick<
  VerifyResult,
  "image" | "reference" | "digest" | "platform" | "answer" | "reason"
> &
  QuorumJson & {
    /** How much was read and hashed; null where nothing was. */
    readonly hashed: VerifyResult["extent"];
    /** Of each kind of statement that was asked for, who signed one; null where none was. */
    readonly statements: VerifyResult["statements"];
  };

const none: QuorumJson = { met: false, people: 0, vendors: 0, accepted: [], rejected: [] };

/** `met` is the whole answer here: the quorum, and every blob that was to be looked at. */
export function verifyResultJson({
  quorum: outcome,
  extent,
  statements,
  ...verdict
}: VerifyResult): VerifyResultJson {
  const { image, reference, digest, platform, answer, reason } = verdict;
  return {
    image,
    reference,
    digest,
    platform,
    answer,
    reason,
    ...(outcome === null ? none : quorumJson(outcome)),
    met: answer === "met",
    hashed: extent,
    statements,
  };
}

const heads = ["image", "signed as", "digest", "people", "vendors", "hashed", "answer"] as const;

/** The table; below it, what is to be said of each image that is not met, and who made the statements that were asked for; and a line that counts. */
export function reportText(verdicts: readonly VerifyResult[]): Printable {
  const cells = [heads, ...verdicts.map(rowOf)];
  return printableLines([...formatTable(cells), printable``, ...complaints(verdicts), summary(verdicts)]);
}

/** The worst counts: an answer that is missing can hide a no. */
export function exitCodeOf(verdicts: readonly VerifyResult[]): number {
  if (verdicts.some(({ answer }) => answer === "unknown")) return exitCode.usage;
  return verdicts.every(({ answer }) => answer === "met") ? exitCode.ok : exitCode.no;
}

function rowOf(verdict: VerifyResult): string[] {
  const { reference, digest, quorum: outcome, extent, answer } = verdict;
  return [
    nameOf(verdict),
    reference ?? "-",
    digest ?? "-",
    outcome === null ? "-" : String(outcome.people),
    outcome === null ? "-" : String(outcome.vendors),
    extent === null ? "-" : `${extent.blobs} blobs, ${megabytes(extent.bytes)}`,
    answer,
  ];
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Of images without a signature for which the same is to be said, in one line; of all others each in its own lines. */
function complaints(verdicts: readonly VerifyResult[]): Printable[] {
  const isBare = ({ answer, quorum: outcome, statements }: VerifyResult) =>
    answer !== "met" &&
    statements === null &&
    (outcome?.accepted.length ?? 0) + (outcome?.rejected.length ?? 0) === 0;
  const bare = verdicts.filter(isBare);
  const told = groupMessages(bare.map((one) => [nameOf(one), `${one.answer}: ${one.reason ?? ""}`]));
  return [
    ...verdicts.filter((one) => !isBare(one)).flatMap(complaint),
    ...told.map((line) => printable`${line}`),
    ...(bare.length > 0 ? [printable``] : []),
  ];
}

function nameOf({ image, platform }: VerifyResult): string {
  return platform === null ? image : `${image} (${platform})`;
}

function complaint(verdict: VerifyResult): Printable[] {
  const { answer, reason, quorum: outcome, statements } = verdict;
  const name = nameOf(verdict);
  const said = statements === null ? [] : [printable`${name}: ${describeStatementSigners(statements)}`];
  if (answer === "met") return said;
  const signatures = outcome === null ? [] : signatureLines(outcome);
  return [printable`${name}: ${answer}: ${reason ?? ""}`, ...said, ...signatures, printable``];
}

function summary(verdicts: readonly VerifyResult[]): Printable {
  const count = (wanted: VerifyResult["answer"]) => verdicts.filter(({ answer }) => answer === wanted).length;
  const hashed = verdicts.reduce((sum, { extent }) => sum + (extent?.bytes ?? 0), 0);
  const parts = [`${count("met")} of ${verdicts.length} met`];
  if (count("not met") > 0) parts.push(`${count("not met")} not met`);
  if (count("unknown") > 0) parts.push(`${count("unknown")} not known`);
  parts.push(hashed > 0 ? `${megabytes(hashed)} hashed` : "no blobs looked at");
  return printable`${parts.join(", ")}.`;
}
