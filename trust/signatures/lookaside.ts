import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { lstat, mkdir, open, readdir, rm, stat } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import type { LookupFunction } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createFile } from "../../lib/fs/atomic-write.ts";
import { ifMissing } from "../../lib/fs/error-code.ts";
import { isLoopbackHost } from "../../lib/net/address-scope.ts";
import { discardResponse, sendRequest } from "../../lib/net/outgoing-request.ts";
import { followRedirects } from "../../lib/net/redirected-request.ts";
import { type Digest, hexOf } from "../../oci/digest.ts";
import { maxMessageSize } from "../openpgp/openpgp-policy.ts";
import { SignatureRejection } from "../openpgp/signature-rejection.ts";
import { TrustError, UnavailableError } from "../trust-error.ts";
import { type Repository, repositoryPath } from "./image-reference.ts";

/** One file of an image's signatures: its bytes, or why it was not read. */
export type SignatureFile = { readonly file: string } & (
  | { readonly bytes: Uint8Array }
  | { readonly rejection: SignatureRejection }
);

/** As podman: who serves more has a fault, or means harm (containers/image, docker/docker_image_src.go). */
export const maxSignatures = 128;

/** What bounds the asking of a server. */
export type LookasideLimits = {
  /** Milliseconds for one file. */
  readonly file: number;
  /** Milliseconds for all files of one image, with every retry. */
  readonly image: number;
  /** Redirects of one request. */
  readonly redirects: number;
};

/** A file has at most {@link maxMessageSize} bytes, and Node ends answers with more than 16 KiB of headers. */
export const defaultLookasideLimits: LookasideLimits = { file: 30_000, image: 60_000, redirects: 5 };

/** Before each retry of what a server is too busy for, in milliseconds. */
const pauses = [300, 1_000];

/** For how long a server that gave no answer is not asked again, in milliseconds. */
const respite = 10_000;

/** Where an image's signatures are below the lookaside: podman's layout, and StageX's `signatures/`. */
export function signatureFolder(repository: Repository, digest: Digest): string {
  return `${repositoryPath(repository)}@sha256=${hexOf(digest)}`;
}

/** What the files are, by which they are called: `signature-1`. The other kinds are signed statements about an image. */
export type FileKind = "signature" | "provenance" | "sbom";

/** Signatures kept apart from the images. */
export type Lookaside = {
  /**
   * All signatures of an image, in order of their numbers. None there is an empty list.
   * @throws TrustError, UnavailableError where it can't be known
   */
  read(repository: Repository, digest: Digest): Promise<readonly SignatureFile[]>;
};

/**
 * A lookaside at an address: `https://…`, or a folder (a checkout of a git repository too).
 * @throws TrustError where the address is neither: http is taken from this machine only, since nothing else on the way is to be trusted
 */
export function createLookaside(
  address: string,
  kind: FileKind = "signature",
  limits: LookasideLimits = defaultLookasideLimits,
): Lookaside {
  if (!/^https?:/.test(address)) return new LookasideFolder(address.replace(/^file:\/\//, ""), kind);
  const url = URL.parse(address.endsWith("/") ? address : `${address}/`);
  if (url === null) throw new TrustError(`${address} is no address of a lookaside`);
  if (url.username !== "" || url.password !== "") {
    // Not quoted: addresses are kept and shown.
    throw new TrustError(
      "there is an @ in the lookaside's address: names and passwords have no place in it; signatures are public",
    );
  }
  if (/[?#]/.test(address)) {
    throw new TrustError(
      "there is a ? or # in the lookaside's address: what is below such an address can't be asked for",
    );
  }
  if (url.protocol === "http:" && !isLoopbackHost(url.hostname)) {
    throw new TrustError(`the lookaside ${address} must be https, except on this machine`);
  }
  return new LookasideServer(url, kind, limits);
}

/** A lookaside in a folder: the only kind that is written to. */
export class LookasideFolder implements Lookaside {
  readonly folder: string;
  readonly #kind: FileKind;

  constructor(folder: string, kind: FileKind = "signature") {
    this.folder = folder;
    this.#kind = kind;
  }

  /** @throws TrustError where there is no such folder, so that nothing can be known of any image */
  async requireFolder(): Promise<void> {
    if ((await stat(this.folder).catch(() => undefined))?.isDirectory()) return;
    throw new TrustError(
      `there is no folder of signatures at ${this.folder}; if nobody has signed yet, make it: mkdir -p ${this.folder}`,
    );
  }

  async read(repository: Repository, digest: Digest): Promise<readonly SignatureFile[]> {
    await this.requireFolder();
    const path = signatureFolder(repository, digest);
    const link = await linkOn(this.folder, path);
    if (link !== undefined) {
      const reason = "it is a symbolic link, which is not followed; put the signatures' folder itself there";
      return [{ file: link, rejection: new SignatureRejection("not-a-file", reason) }];
    }
    return readSignatureFolder(join(this.folder, path), this.#kind);
  }

  /**
   * Files a signature under the next free number, whole or not at all. Two at once get two numbers; bytes that are there already
   * are not written again.
   * @returns the file's name, `signature-3`
   * @throws TrustError where there is no room, or a folder of the image's is a link, by which it would be written elsewhere
   */
  async write(repository: Repository, digest: Digest, signature: Uint8Array): Promise<string> {
    if (signature.length > maxMessageSize) throw new TrustError(`${signature.length} bytes are no signature`);
    const path = signatureFolder(repository, digest);
    const link = await linkOn(this.folder, path);
    if (link !== undefined) {
      throw new TrustError(
        `nothing is filed in ${this.folder}: ${link} is a symbolic link; put a folder in its place`,
      );
    }
    const folder = join(this.folder, path);
    await mkdir(folder, { recursive: true });
    await sweepDrafts(folder);
    const options = { mode: 0o644, temporary: join(folder, `.new-${randomUUID()}`) };
    for (let number = 1; number <= maxSignatures; number++) {
      const file = `${this.#kind}-${number}`;
      const isFree = (await lstat(join(folder, file)).catch(ifMissing(null))) === null;
      if (isFree && (await createFile(join(folder, file), signature, options))) return file;
      const there = await readOne(folder, file);
      if ("bytes" in there && Buffer.compare(there.bytes, signature) === 0) return file;
    }
    throw new TrustError(
      `${folder} has ${maxSignatures} signatures already, and clients read no more; take out what is not one`,
    );
  }
}

/**
 * The signatures in one image's folder. What lies beyond a gap is kept, but rejected: podman stops at the first number that is not
 * there, and what it doesn't see can't count here.
 */
export async function readSignatureFolder(
  folder: string,
  kind: FileKind = "signature",
): Promise<readonly SignatureFile[]> {
  const numbers = (await namesIn(folder))
    .map((name) => Number(new RegExp(`^${kind}-([1-9][0-9]{0,8})$`).exec(name)?.[1] ?? Number.NaN))
    .filter((number) => !Number.isNaN(number))
    .sort((a, b) => a - b);
  const end = numbers.findIndex((number, index) => number !== index + 1);
  const reach = end < 0 ? numbers.length : end;
  const files: SignatureFile[] = [];
  for (const [index, number] of numbers.entries()) {
    const file = `${kind}-${number}`;
    if (index >= reach) {
      const reason = `there is no ${kind}-${reach + 1} before it, where podman stops; number them without gaps`;
      files.push({ file, rejection: new SignatureRejection("after-gap", reason) });
    } else if (index >= maxSignatures) {
      files.push({ file, rejection: tooMany() });
    } else files.push(await readOne(folder, file));
  }
  return files;
}

/** The first link on the way from a lookaside's folder to an image's, relative to it: whoever fills the folder may have laid it. */
async function linkOn(root: string, path: string): Promise<string | undefined> {
  const names = path.split("/");
  for (let depth = 1; depth <= names.length; depth++) {
    const below = names.slice(0, depth).join("/");
    const facts = await lstat(join(root, below)).catch(() => undefined);
    if (facts === undefined) return undefined;
    if (facts.isSymbolicLink()) return below;
  }
  return undefined;
}

/** What writers left that were killed; nobody works on one for an hour. */
async function sweepDrafts(folder: string): Promise<void> {
  const drafts = (await namesIn(folder)).filter((name) => name.startsWith(".new-"));
  for (const draft of drafts.map((name) => join(folder, name))) {
    const facts = await lstat(draft).catch(() => undefined);
    if (facts && Date.now() - facts.mtimeMs > 3600_000) await rm(draft, { force: true });
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw new TrustError(`the signatures can't be read: ${(error as Error).message}`);
  }
}

/** Never through a link, and never waiting for a pipe: anybody may have written this folder. */
async function readOne(folder: string, file: string): Promise<SignatureFile> {
  try {
    const handle = await open(
      join(folder, file),
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
    try {
      const facts = await handle.stat();
      if (!facts.isFile()) throw new SignatureRejection("not-a-file", "it is not a regular file");
      if (facts.size > maxMessageSize) throw tooLarge(facts.size);
      return { file, bytes: await handle.readFile() };
    } finally {
      await handle.close();
    }
  } catch (error) {
    const rejection =
      error instanceof SignatureRejection
        ? error
        : new SignatureRejection(
            "not-a-file",
            `it can't be read: ${(error as NodeJS.ErrnoException).code ?? error}`,
          );
    return { file, rejection };
  }
}

/** A lookaside that is asked by HTTP. One that gives no answer is left alone for a moment: hundreds of images would each wait for it. */
class LookasideServer implements Lookaside {
  readonly #base: URL;
  readonly #kind: FileKind;
  readonly #limits: LookasideLimits;
  #silence: { readonly until: number; readonly error: UnavailableError } | undefined;

  constructor(base: URL, kind: FileKind, limits: LookasideLimits) {
    this.#base = base;
    this.#kind = kind;
    this.#limits = limits;
  }

  async read(repository: Repository, digest: Digest): Promise<readonly SignatureFile[]> {
    const folder = signatureFolder(repository, digest);
    const files: SignatureFile[] = [];
    const time = AbortSignal.timeout(this.#limits.image);
    for (let number = 1; ; number++) {
      const file = `${this.#kind}-${number}`;
      // "=" and "@" stand in the path as they are: podman asks so.
      const bytes = await this.#fetched(new URL(`${folder}/${file}`, this.#base), time);
      if (bytes === undefined) return files;
      if (number > maxSignatures) return [...files, { file, rejection: tooMany() }];
      files.push(bytes instanceof SignatureRejection ? { file, rejection: bytes } : { file, bytes });
    }
  }

  /** What an overloaded server says is asked again: of hundreds of images, it says so of some. */
  async #fetched(url: URL, time: AbortSignal): Promise<Uint8Array | SignatureRejection | undefined> {
    for (const pause of pauses) {
      const response = await this.#response(url, time);
      const { statusCode = 0 } = response;
      if (statusCode !== 429 && statusCode < 500) return await answered(url, response);
      discardResponse(response);
      await sleep(pause);
    }
    return await answered(url, await this.#response(url, time));
  }

  async #response(url: URL, time: AbortSignal): Promise<IncomingMessage> {
    if (this.#silence && performance.now() < this.#silence.until) throw this.#silence.error;
    const { file, image, redirects } = this.#limits;
    const late = AbortSignal.any([time, AbortSignal.timeout(file)]);
    try {
      const headers = { "accept-encoding": "identity" };
      const send = (to: URL, lookup: LookupFunction | undefined) =>
        sendRequest(to, { headers, signal: late, lookup });
      return await followRedirects(url, send, { limit: redirects });
    } catch (error) {
      const why = late.aborted
        ? `not done after ${(time.aborted ? image : file) / 1000} s`
        : (error as Error).message;
      const silence = new UnavailableError(`no answer from ${this.#base}: ${why}`);
      this.#silence = { until: performance.now() + respite, error: silence };
      throw silence;
    }
  }
}

/** The bytes; nothing where the server says that there is no such file (404, and nothing else). */
async function answered(
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
    return await bounded(response);
  } catch (error) {
    throw new UnavailableError(`${url} broke off: ${(error as Error).message}`);
  }
}

async function bounded(response: AsyncIterable<Uint8Array>): Promise<Uint8Array | SignatureRejection> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response) {
    size += chunk.length;
    if (size > maxMessageSize) return tooLarge(size);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function tooLarge(size: number): SignatureRejection {
  return new SignatureRejection(
    "too-large",
    `${size} bytes or more; no signature has more than ${maxMessageSize}`,
  );
}

function tooMany(): SignatureRejection {
  return new SignatureRejection(
    "too-many",
    `podman reads no more than ${maxSignatures} signatures of one image`,
  );
}
