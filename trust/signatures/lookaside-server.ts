import type { IncomingMessage } from "node:http";
import type { LookupFunction } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { discardResponse, sendRequest } from "../../lib/net/outgoing-request.ts";
import { followRedirects } from "../../lib/net/redirected-request.ts";
import type { Digest } from "../../oci/digest.ts";
import { maxMessageSize } from "../openpgp/openpgp-policy.ts";
import { SignatureRejection } from "../openpgp/signature-rejection.ts";
import { UnavailableError } from "../trust-error.ts";
import type { Repository } from "./image-reference.ts";
import {
  type FileKind,
  fileTooLarge,
  maxSignatures,
  type SignatureFile,
  signatureFolder,
  tooManyFiles,
} from "./signature-file.ts";

/**
 * Bounds on the requests to a server. Node bounds the headers of a response to 16 KiB, {@link
 * maxMessageSize} its body.
 */
export type LookasideLimits = {
  /** Milliseconds for one file. */
  readonly file: number;
  /** Milliseconds for all files of one image, with every retry. */
  readonly image: number;
  /** Redirects of one request. */
  readonly redirects: number;
};

export const defaultLookasideLimits: LookasideLimits = { file: 30_000, image: 60_000, redirects: 5 };

/** Pauses before each retry of a request that an overloaded server refuses, in milliseconds. */
const retryPauses = [300, 1_000];

/** How long a server that gave no answer is not asked again, in milliseconds. */
const silencePause = 10_000;

/**
 * A lookaside on an HTTP server. After a request without an answer, all requests fail for a moment:
 * otherwise hundreds of images would each wait for the timeout.
 */
export class LookasideServer {
  readonly #base: URL;
  readonly #kind: FileKind;
  readonly #limits: LookasideLimits;
  #silence: { readonly until: number; readonly error: UnavailableError } | undefined;

  constructor(base: URL, kind: FileKind, limits: LookasideLimits) {
    this.#base = base;
    this.#kind = kind;
    this.#limits = limits;
  }

  /** Reads an image's signatures: one request a file, up to the first number that is not there. */
  async read(repository: Repository, digest: Digest): Promise<readonly SignatureFile[]> {
    const folder = signatureFolder(repository, digest);
    const files: SignatureFile[] = [];
    const deadline = AbortSignal.timeout(this.#limits.image);
    for (let number = 1; ; number++) {
      const file = `${this.#kind}-${number}`;
      // "=" and "@" are not escaped in the path, as in podman's requests.
      const bytes = await this.#fetch(new URL(`${folder}/${file}`, this.#base), deadline);
      if (bytes === undefined) return files;
      if (number > maxSignatures) return [...files, { file, rejection: tooManyFiles() }];
      files.push(bytes instanceof SignatureRejection ? { file, rejection: bytes } : { file, bytes });
    }
  }

  /** Retries on 429 and 5xx: an overloaded server refuses some of hundreds of requests. */
  async #fetch(url: URL, deadline: AbortSignal): Promise<Uint8Array | SignatureRejection | undefined> {
    for (const pause of retryPauses) {
      const response = await this.#send(url, deadline);
      const { statusCode = 0 } = response;
      if (statusCode !== 429 && statusCode < 500) return await readResponse(url, response);
      discardResponse(response);
      await sleep(pause);
    }
    return await readResponse(url, await this.#send(url, deadline));
  }

  async #send(url: URL, deadline: AbortSignal): Promise<IncomingMessage> {
    if (this.#silence && performance.now() < this.#silence.until) throw this.#silence.error;
    const { file, image, redirects } = this.#limits;
    const signal = AbortSignal.any([deadline, AbortSignal.timeout(file)]);
    try {
      const headers = { "accept-encoding": "identity" };
      const send = (to: URL, lookup: LookupFunction | undefined) =>
        sendRequest(to, { headers, signal, lookup });
      return await followRedirects(url, send, { limit: redirects });
    } catch (cause) {
      const reason = signal.aborted
        ? `not done after ${(deadline.aborted ? image : file) / 1000} s`
        : (cause as Error).message;
      const error = new UnavailableError(`no answer from ${this.#base}: ${reason}`);
      this.#silence = { until: performance.now() + silencePause, error };
      throw error;
    }
  }
}

/**
 * Returns the body; nothing on 404. Every other status is a failure: it does not mean that there is
 * no such file.
 */
async function readResponse(
  url: URL,
  response: IncomingMessage,
): Promise<Uint8Array | SignatureRejection | undefined> {
  const { statusCode } = response;
  if (statusCode !== 200) discardResponse(response);
  if (statusCode === 404) return undefined;
  if (statusCode !== 200) {
    throw new UnavailableError(
      `${url} answered ${statusCode}: that is not "there is none" (404), so the signatures can't be known; try again`,
    );
  }
  try {
    return await readBounded(response);
  } catch (error) {
    throw new UnavailableError(`${url} broke off: ${(error as Error).message}`);
  }
}

async function readBounded(response: AsyncIterable<Uint8Array>): Promise<Uint8Array | SignatureRejection> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response) {
    size += chunk.length;
    if (size > maxMessageSize) return fileTooLarge(size);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
