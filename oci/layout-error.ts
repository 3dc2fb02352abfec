import { printableLine } from "../lib/text/printable.ts";
import type { Digest } from "./digest.ts";

/**
 * What can be wrong with an image layout, by name:
 * - `missing`: a file that is named is not there;
 * - `not-a-file`: it is there, but is a folder, a link or a device;
 * - `truncated`, `oversized`: it has fewer or more bytes than its descriptor says;
 * - `too-large`: a JSON document over the bound;
 * - `damaged`: its bytes have another digest than its name;
 * - `malformed`: a document that is not what the OCI image spec says;
 * - `media-type`: a document or blob of another kind than belongs there;
 * - `attestation`: the index carries a provenance or SBOM manifest (platform unknown/unknown);
 * - `several-images`: the layout holds none or more than one image;
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

/** In characters. A schema's words quote the document's own, which may be as long as the document. */
const longestMessage = 2000;

/** An image layout that can't be taken for what it says it is. The message names the file. */
export class LayoutError extends Error {
  readonly problem: LayoutProblem;
  /** The file that is wrong. */
  readonly path: string;
  /** The blob that is wrong, where it is one. */
  readonly digest: Digest | null;

  constructor(problem: LayoutProblem, path: string, digest: Digest | null, message: string) {
    const shown = message.length > longestMessage ? `${message.slice(0, longestMessage)}…` : message;
    super(printableLine(shown));
    this.name = "LayoutError";
    this.problem = problem;
    this.path = path;
    this.digest = digest;
  }
}
