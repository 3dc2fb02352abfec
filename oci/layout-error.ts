import { printableLine } from "../lib/text/printable.ts";
import type { Digest } from "./digest.ts";

/**
 * The problems that an image layout can have:
 * - `missing`: a file that is named is not there;
 * - `not-a-file`: a folder, a link or a device is in the file's place;
 * - `truncated`, `oversized`: the file has fewer or more bytes than its descriptor says;
 * - `too-large`: a JSON document is over the limit;
 * - `damaged`: the bytes have another digest than the file's name;
 * - `malformed`: a document is not what the OCI image spec requires;
 * - `media-type`: a document or blob is of another kind than belongs there;
 * - `attestation`: the index has a provenance or SBOM manifest (platform unknown/unknown);
 * - `several-images`: the layout has none or more than one image;
 * - `diff-id`: a layer unpacks to other bytes than the image's config says.
 */
export type LayoutProblem =
  | "missing"
  | "not-a-file"
  | "truncated"
  | "oversized"
  | "too-large"
  | "damaged"
  | "malformed"
  | "media-type"
  | "attestation"
  | "several-images"
  | "diff-id";

/** In characters. A schema's message quotes the document, and may be as long as the document. */
const messageLimit = 2000;

/**
 * An image layout, or a file of one, that is not what its digest or the OCI image spec requires.
 * The message names the file.
 */
export class LayoutError extends Error {
  readonly problem: LayoutProblem;
  /** The file that is wrong. */
  readonly path: string;
  /** The blob that is wrong; null where the file is no blob. */
  readonly digest: Digest | null;

  constructor(problem: LayoutProblem, path: string, digest: Digest | null, message: string) {
    const shown = message.length > messageLimit ? `${message.slice(0, messageLimit)}…` : message;
    super(printableLine(shown));
    this.name = "LayoutError";
    this.problem = problem;
    this.path = path;
    this.digest = digest;
  }
}
