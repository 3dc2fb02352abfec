import { createHash, type Hash } from "node:crypto";
import { createWriteStream, readFileSync } from "node:fs";
import { type Readable, Transform, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { isMissing } from "../lib/fs/error-code.ts";
import { openRegularFile, RegularFileError, withRegularFileSync } from "../lib/fs/regular-file.ts";
import type { Descriptor } from "./descriptor.ts";
import { type Digest, digestOf, parseDigest } from "./digest.ts";
import { LayoutError } from "./layout-error.ts";

/** Limit of an image's JSON document, in bytes; registries refuse manifests over 4 MiB too. */
export const jsonLimit = 4 * 1024 * 1024;

const readAhead = 1024 * 1024;

/**
 * A blob of up to this many bytes is hashed in one piece: a stream's buffers would cost more than
 * the blob.
 */
const smallBlob = 256 * 1024;

/** Reads a layout's own file, such as `index.json`, which no digest covers. */
export async function readLayoutFile(path: string): Promise<Buffer> {
  return readWhole(path, null);
}

/**
 * Reads a JSON blob whole, and verifies its digest, and its size where that is known.
 * @throws LayoutError
 */
export async function readBlob(path: string, blob: { digest: Digest; size?: number }): Promise<Buffer> {
  const bytes = readWhole(path, blob.digest, blob.size);
  requireDigest(path, blob.digest, digestOf(bytes));
  return bytes;
}

/** Synchronous: the thread pool takes ten times as long as reading a document. */
function readWhole(path: string, digest: Digest | null, expected?: number): Buffer {
  try {
    return withRegularFileSync(path, Number.POSITIVE_INFINITY, (descriptor, size) => {
      if (digest !== null && expected !== undefined) requireSize(path, { digest, size: expected }, size);
      if (size > jsonLimit) {
        const message = `${path}: ${size} bytes are too many for an image's JSON (at most ${jsonLimit})`;
        throw new LayoutError("too-large", path, digest, message);
      }
      return readFileSync(descriptor);
    });
  } catch (error) {
    throw asLayoutError(path, digest, error);
  }
}

/** Reads a blob's bytes, packed or not, and throws where it finds something wrong. */
export type BlobCheck = (bytes: AsyncIterable<Uint8Array>, signal?: AbortSignal) => Promise<void>;

/**
 * Reads a blob once, and verifies its size and digest.
 * @param check reads the bytes in the same pass. Its error is thrown only if the bytes have the
 * digest: of damaged bytes it would report a consequence and not the cause.
 * @throws LayoutError
 */
export async function checkBlob(
  path: string,
  blob: Descriptor,
  signal?: AbortSignal,
  check?: BlobCheck,
): Promise<void> {
  if (check) return await checkWith(check, path, blob, signal);
  if (blob.size <= smallBlob) {
    signal?.throwIfAborted();
    await readBlob(path, blob);
    return;
  }
  const hash = createHash("sha256");
  await readStream(path, blob, (source) => pipeline(source, hashInto(hash), { signal }));
  requireDigest(path, blob.digest, digestIn(hash));
}

async function checkWith(
  check: BlobCheck,
  path: string,
  blob: Descriptor,
  signal: AbortSignal | undefined,
): Promise<void> {
  const hash = createHash("sha256");
  let read = 0;
  async function* hashed(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of source) {
      hash.update(chunk);
      read += chunk.length;
      yield chunk;
    }
  }
  try {
    await readStream(path, blob, (source) => check(hashed(source), signal));
  } catch (error) {
    if (error instanceof LayoutError || signal?.aborted === true) throw error;
    await checkBlob(path, blob, signal);
    throw error;
  }
  // The check may end before the blob does; the digest covers all of it.
  if (read < blob.size) await checkBlob(path, blob, signal);
  else requireDigest(path, blob.digest, digestIn(hash));
}

/**
 * Copies a blob to a new file and verifies it in the same pass.
 * @throws LayoutError
 */
export async function copyBlob(
  from: string,
  blob: Descriptor,
  to: string,
  signal?: AbortSignal,
): Promise<void> {
  const hash = createHash("sha256");
  await readStream(from, blob, (source) =>
    pipeline(source, tap(hash), createWriteStream(to, { flags: "wx" }), { signal }),
  );
  requireDigest(from, blob.digest, digestIn(hash));
}

/**
 * Does what {@link checkBlob} does, and in the same pass checks that the layer unpacks to the
 * config's diff_id.
 * @throws LayoutError
 */
export async function checkLayer(
  path: string,
  layer: Descriptor,
  diffId: Digest,
  signal?: AbortSignal,
): Promise<void> {
  const packed = createHash("sha256");
  const unpacked = createHash("sha256");
  let unpackError: unknown;
  await readStream(path, layer, (source) =>
    pipeline(
      [source, tap(packed), ...decompressor(layer.mediaType), hashInto(unpacked, unpackedLimit(layer))],
      { signal },
    ),
  ).catch((error: unknown) => {
    if (error instanceof LayoutError || signal?.aborted === true) throw error;
    unpackError = error;
  });
  if (unpackError !== undefined) {
    // A layer with other bytes than its digest is damaged; only an intact one can be wrongly
    // packed.
    await checkBlob(path, layer, signal);
    const reason = unpackError instanceof Error ? unpackError.message : String(unpackError);
    throw unpackingError(path, layer, reason);
  }
  requireDigest(path, layer.digest, digestIn(packed));
  requireDiffId(path, layer, diffId, digestIn(unpacked));
}

/**
 * Checks that a layer unpacks to the diff_id in the image's config.
 * @throws LayoutError
 */
export function requireDiffId(at: string, layer: Descriptor, diffId: Digest, found: Digest): void {
  if (found === diffId) return;
  const message = `${at}: the layer unpacks to ${found}, but the image's config says ${diffId} (rootfs.diff_ids)`;
  throw new LayoutError("diff-id", at, layer.digest, message);
}

/** Returns the error for an intact layer that can't be unpacked. */
export function unpackingError(at: string, layer: Descriptor, reason: string): LayoutError {
  const message = `${at}: the layer can't be unpacked as ${layer.mediaType}: ${reason}`;
  return new LayoutError("diff-id", at, layer.digest, message);
}

/**
 * Returns the number of bytes beyond which unpacking a layer fails. Gzip never reaches it: it makes
 * at most 1032 bytes of one (deflate's longest match by its shortest code). Zstd makes any number.
 */
export function unpackedLimit({ size }: Descriptor): number {
  return 1024 * 1024 + 1032 * size;
}

/**
 * Opens a layer as a tar stream, unpacked by its media type. It is not verified: check the blob
 * first.
 */
export async function openLayer(path: string, layer: Descriptor): Promise<Readable[]> {
  const { handle } = await openBlob(path, layer.digest);
  return [handle.createReadStream({ highWaterMark: readAhead }), ...decompressor(layer.mediaType)];
}

/** Returns a stream that unpacks layers of this media type; none where they are not packed. */
export function decompressor(mediaType: string) {
  // Docker's own media types have a dot for the plus.
  if (/[+.]gzip$/.test(mediaType)) return [createGunzip()];
  if (/[+.]zstd$/.test(mediaType)) return [createZstdDecompress()];
  return [];
}

async function readStream(
  path: string,
  blob: Descriptor,
  consume: (source: Readable) => Promise<void>,
): Promise<void> {
  const { handle, size } = await openBlob(path, blob.digest);
  try {
    requireSize(path, blob, size);
    await consume(handle.createReadStream({ highWaterMark: readAhead, autoClose: false }));
  } finally {
    await handle.close();
  }
}

/** Opens a regular file only: a link could lead out of the layout, and a pipe would never end. */
async function openBlob(path: string, digest: Digest): ReturnType<typeof openRegularFile> {
  return await openRegularFile(path, Number.POSITIVE_INFINITY).catch((error: unknown) => {
    throw asLayoutError(path, digest, error);
  });
}

function asLayoutError(path: string, digest: Digest | null, error: unknown): unknown {
  if (isMissing(error)) return new LayoutError("missing", path, digest, `${path}: is missing`);
  if (!(error instanceof RegularFileError)) return error;
  return new LayoutError("not-a-file", path, digest, `${path}: is not a regular file`);
}

function requireSize(path: string, blob: { digest: Digest; size: number }, found: number): void {
  if (found === blob.size) return;
  const problem = found < blob.size ? "truncated" : "oversized";
  const message = `${path}: ${problem}: has ${found} bytes, its descriptor says ${blob.size}`;
  throw new LayoutError(problem, path, blob.digest, message);
}

function requireDigest(path: string, expected: Digest, found: Digest): void {
  if (found === expected) return;
  const message = `${path}: damaged: its bytes have the digest ${found}, not the one they are filed under`;
  throw new LayoutError("damaged", path, expected, message);
}

function digestIn(hash: Hash): Digest {
  return parseDigest(`sha256:${hash.digest("hex")}`);
}

function hashInto(hash: Hash, limit = Number.POSITIVE_INFINITY): Writable {
  let size = 0;
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      size += chunk.length;
      done(size > limit ? new Error(`more than ${limit} bytes come out of it`) : null);
    },
  });
}

function tap(hash: Hash): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
}
