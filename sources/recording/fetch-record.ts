import { z } from "zod";
import { printableLine } from "../../lib/text/printable.ts";

const format = "stagex-fetches/1";

/** In bytes; some 100,000 answers. */
export const maxRecordBytes = 64 * 1024 * 1024;

/** How many answers a build may need: the largest lock files have some 3,000 packages. */
export const maxAnswers = 50_000;

export const fetchMethods = ["GET", "HEAD", "POST"] as const;

/** Headers of an answer that clients act on; no other is kept or passed on. */
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
  /** What of the request's headers can change the answer. */
  accept: headerValue.optional(),
  gitProtocol: headerValue.optional(),
  /** sha256 of what was sent, of a POST. */
  sent: sha256.optional(),
  status: z.int().min(200).max(599),
  headers: z.partialRecord(z.enum(recordedHeaders), headerValue),
  /** The body's sha256 and size in bytes: null for HEAD, which has only a size. */
  sha256: sha256.nullable(),
  size: z.int().nonnegative().nullable(),
});

const recordSchema = z.strictObject({
  format: z.literal(format),
  inputKey: sha256,
  image: z.string().min(1).max(256),
  answers: z.array(answerSchema).max(maxAnswers),
});

/** One request that a build made, and what it was answered. */
export type FetchAnswer = z.infer<typeof answerSchema>;

/** What one build fetched. Its bodies are kept by their sha256, with the sources. */
export type FetchRecord = Omit<z.infer<typeof recordSchema>, "format">;

/** What distinguishes one request from another. */
export type FetchRequest = Pick<FetchAnswer, "method" | "url" | "accept" | "gitProtocol" | "sent">;

/** Returns a text that equal requests have in common, and others have not. */
export function requestKey({ method, url, accept = "", gitProtocol = "", sent = "" }: FetchRequest): string {
  return [method, url, accept, gitProtocol, sent].join("\n");
}

/** Writes a record in its one form: sorted, an answer a line, so that git shows what changed. */
export function formatFetchRecord({ inputKey, image, answers }: FetchRecord): string {
  const sorted = answers
    .map((answer) => ({ key: requestKey(answer), line: JSON.stringify(answerSchema.parse(answer)) }))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  if (new Set(sorted.map(({ key }) => key)).size < sorted.length)
    throw new Error(`${image}: its fetch record would have two answers to one request`);
  const head = JSON.stringify({ format, inputKey, image }).slice(0, -1);
  return `${head},"answers":[\n${sorted.map(({ line }) => line).join(",\n")}\n]}\n`;
}

/** In characters, of what is wrong with a record: its keys are others' and may be as long as the record. */
const longestProblem = 200;

/** Parses a record. @throws Error, in one short line, where it is none or has two answers to one request */
export function parseFetchRecord(text: string): FetchRecord {
  const { format: _format, ...record } = recordIn(text);
  if (new Set(record.answers.map(requestKey)).size < record.answers.length)
    throw new Error("it has two answers to one request");
  return record;
}

function recordIn(text: string): z.infer<typeof recordSchema> {
  const json = jsonIn(text);
  // The schema would look at each of them before it counts them, and keep what is wrong with each.
  if (isTooLong(json)) throw new Error(`it has more than ${maxAnswers} answers`);
  const parsed = recordSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const problem = [issue?.path.join("."), issue?.message].filter(Boolean).join(": ");
  const shown = problem.length > longestProblem ? `${problem.slice(0, longestProblem)}…` : problem;
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
