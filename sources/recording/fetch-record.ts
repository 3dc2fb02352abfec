import { z } from "zod";
import { printableLine } from "../../lib/text/printable.ts";

const format = "stagex-fetches/1";

/** In bytes; some 100,000 answers. */
export const maxRecordBytes = 64 * 1024 * 1024;

/** The most answers of one build: the largest lock files have some 3,000 packages. */
export const maxAnswers = 50_000;

export const fetchMethods = ["GET", "HEAD", "POST"] as const;

/** Headers of an answer that clients act on; all others are dropped. */
export const recordedHeaders = [
  ...["content-encoding", "content-type", "etag", "last-modified", "link", "location"],
] as const;

const sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/, { error: "not a sha256 (expected 64 lower-case hex digits)" });
/** In characters, of an address or a header. */
export const maxValueLength = 8192;

const headerValue = z.string().max(maxValueLength);

const answerSchema = z.strictObject({
  method: z.enum(fetchMethods),
  url: z.string().max(maxValueLength),
  /** A request header that can change the answer. */
  accept: headerValue.optional(),
  gitProtocol: headerValue.optional(),
  /** sha256 of a POST's body. */
  sent: sha256.optional(),
  status: z.int().min(200).max(599),
  headers: z.partialRecord(z.enum(recordedHeaders), headerValue),
  /** The body's sha256 and size in bytes; null for HEAD, which has only a size. */
  sha256: sha256.nullable(),
  size: z.int().nonnegative().nullable(),
});

const recordSchema = z.strictObject({
  format: z.literal(format),
  inputKey: sha256,
  image: z.string().min(1).max(256),
  answers: z.array(answerSchema).max(maxAnswers),
});

/** A request of a build, and its answer. */
export type FetchAnswer = z.infer<typeof answerSchema>;

/** The answers that one build fetched. Their bodies are kept by their sha256, with the sources. */
export type FetchRecord = Omit<z.infer<typeof recordSchema>, "format">;

/** The parts that distinguish one request from another. */
export type FetchRequest = Pick<FetchAnswer, "method" | "url" | "accept" | "gitProtocol" | "sent">;

/** Returns a text that is the same for equal requests, and differs for all others. */
export function requestKey({ method, url, accept = "", gitProtocol = "", sent = "" }: FetchRequest): string {
  return [method, url, accept, gitProtocol, sent].join("\n");
}

/** Formats a record in its one form: sorted, an answer a line, so that git shows the changes. */
export function formatFetchRecord({ inputKey, image, answers }: FetchRecord): string {
  const sorted = answers
    .map((answer) => ({ key: requestKey(answer), line: JSON.stringify(answerSchema.parse(answer)) }))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  if (new Set(sorted.map(({ key }) => key)).size < sorted.length)
    throw new Error(`${image}: its fetch record would have two answers to one request`);
  const head = JSON.stringify({ format, inputKey, image }).slice(0, -1);
  return `${head},"answers":[\n${sorted.map(({ line }) => line).join(",\n")}\n]}\n`;
}

/**
 * In characters, of the problem of a record: it may quote the record's keys, which may be as long
 * as the record.
 */
const maxProblemLength = 200;

/**
 * Parses a record.
 * @throws Error, in one short line, where it is no record or has two answers to one request
 */
export function parseFetchRecord(text: string): FetchRecord {
  const { format: _format, ...record } = recordIn(text);
  if (new Set(record.answers.map(requestKey)).size < record.answers.length)
    throw new Error("it has two answers to one request");
  return record;
}

function recordIn(text: string): z.infer<typeof recordSchema> {
  const json = jsonIn(text);
  // The schema would check each of them before it counts them, and keep every problem.
  if (isTooLong(json)) throw new Error(`it has more than ${maxAnswers} answers`);
  const parsed = recordSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const problem = [issue?.path.join("."), issue?.message].filter(Boolean).join(": ");
  const shown = problem.length > maxProblemLength ? `${problem.slice(0, maxProblemLength)}…` : problem;
  throw new Error(`it is no record: ${printableLine(shown)}`);
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("it is not JSON (cut off or damaged?)");
  }
}

function isTooLong(json: unknown): boolean {
  if (typeof json !== "object" || json === null || !("answers" in json)) return false;
  return Array.isArray(json.answers) && json.answers.length > maxAnswers;
}
