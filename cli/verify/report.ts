import { groupMessages } from "../../lib/text/grouped-messages.ts";
import { type Printable, printable, printableLines } from "../../lib/text/printable.ts";
import { formatTable } from "../../lib/text/text-table.ts";
import { exitCode } from "../output/exit-code.ts";
import { quorumJson, signatureLines } from "./signatures-only.ts";
import { describeStatementSigners } from "./statement-signers.ts";
import type { VerifyResult } from "./verify-image.ts";

/** One entry of what `stagex verify IMAGE… --json` prints. Other programs read it. */
export type VerifyResultJson = ReturnType<typeof verifyResultJson>;

const noQuorum: ReturnType<typeof quorumJson> = {
  met: false,
  people: 0,
  vendors: 0,
  accepted: [],
  rejected: [],
};

/**
 * Returns the JSON of a result: `met` covers the quorum, and every blob and statement that was to
 * be checked.
 */
export function verifyResultJson({ quorum, extent, statements, ...result }: VerifyResult) {
  const { image, reference, digest, platform, answer, reason } = result;
  return {
    image,
    reference,
    digest,
    platform,
    answer,
    reason,
    ...(quorum === null ? noQuorum : quorumJson(quorum)),
    met: answer === "met",
    hashed: extent,
    statements,
  };
}

const heads = ["image", "signed as", "digest", "people", "vendors", "hashed", "answer"] as const;

/**
 * Formats results: a table, then a paragraph for each image with a problem or with signed
 * statements, then the totals.
 */
export function reportText(results: readonly VerifyResult[]): Printable {
  const cells = [heads, ...results.map(rowOf)];
  return printableLines([...formatTable(cells), printable``, ...paragraphs(results), totals(results)]);
}

/** Returns the exit code of the worst result. `unknown` is worst: it may hide a "not met". */
export function exitCodeOf(results: readonly VerifyResult[]): number {
  if (results.some(({ answer }) => answer === "unknown")) return exitCode.usage;
  return results.every(({ answer }) => answer === "met") ? exitCode.ok : exitCode.no;
}

function rowOf(result: VerifyResult): string[] {
  const { reference, digest, quorum, extent, answer } = result;
  return [
    nameOf(result),
    reference ?? "-",
    digest ?? "-",
    quorum === null ? "-" : String(quorum.people),
    quorum === null ? "-" : String(quorum.vendors),
    extent === null ? "-" : `${extent.blobs} blobs, ${megabytes(extent.bytes)}`,
    answer,
  ];
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/**
 * Images without any signature share a line where their reason is the same; every other image has
 * its own lines.
 */
function paragraphs(results: readonly VerifyResult[]): Printable[] {
  const hasNoSignature = ({ answer, quorum, statements }: VerifyResult) =>
    answer !== "met" &&
    statements === null &&
    (quorum?.accepted.length ?? 0) + (quorum?.rejected.length ?? 0) === 0;
  const unsigned = results.filter(hasNoSignature);
  const grouped = groupMessages(unsigned.map((one) => [nameOf(one), `${one.answer}: ${one.reason ?? ""}`]));
  return [
    ...results.filter((one) => !hasNoSignature(one)).flatMap(paragraph),
    ...grouped.map((line) => printable`${line}`),
    ...(unsigned.length > 0 ? [printable``] : []),
  ];
}

function nameOf({ image, platform }: VerifyResult): string {
  return platform === null ? image : `${image} (${platform})`;
}

function paragraph(result: VerifyResult): Printable[] {
  const { answer, reason, quorum, statements } = result;
  const name = nameOf(result);
  const signers = statements === null ? [] : [printable`${name}: ${describeStatementSigners(statements)}`];
  if (answer === "met") return signers;
  const signatures = quorum === null ? [] : signatureLines(quorum);
  return [printable`${name}: ${answer}: ${reason ?? ""}`, ...signers, ...signatures, printable``];
}

function totals(results: readonly VerifyResult[]): Printable {
  const count = (wanted: VerifyResult["answer"]) => results.filter(({ answer }) => answer === wanted).length;
  const hashed = results.reduce((sum, { extent }) => sum + (extent?.bytes ?? 0), 0);
  const parts = [`${count("met")} of ${results.length} met`];
  if (count("not met") > 0) parts.push(`${count("not met")} not met`);
  if (count("unknown") > 0) parts.push(`${count("unknown")} not known`);
  parts.push(hashed > 0 ? `${megabytes(hashed)} hashed` : "no blobs looked at");
  return printable`${parts.join(", ")}.`;
}
