import { createHash, type Hash } from "node:crypto";
import {
  closeSync,
  createWriteStream,
  constants as fsConstants,
  fstatSync,
  openSync,
  readFileSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { type Readable, Transform, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { type Digest, digestOf, parseDigest } from "./digest.ts";
import type { Descriptor } from "./image.ts";
import { LayoutError } from "./layout-error.ts";

/** No JSON document of an image is larger, in bytes; registries refuse manifests over 4 MiB too. */
export const jsonLimit = 4 * 1024 * 1024;

const readAhead = 1024 * 1024;

/** A blob of up to this many bytes is hashed in one piece: a stream's buffers would cost more than the blob. */
const smallBlob = 256 * 1024;

/** Reads a small document whole; its bytes are not compared with any digest. */
export async function readLayoutFile(path: string): Promise<Buffer> {
  return readWhole(path, null);
}

/** Reads a JSON blob whole, having checked its digest, and its size where that is known. */
export async function readBlob(path: string, blob: { digest: Digest; size?: number }): Promise<Buffer> {
  const bytes = readWhole(path, blob.digest, blob.size);
  checkDigest(path, blob.digest, digestOf(bytes));
  return bytes;
}

/** Reads at once, without the thread pool: its ways are ten times as long as reading a document takes. */
function readWhole(path: string, digest: Digest | null, expected?: number): Buffer {
  const descriptor = openNow(path, digest);
  try {
    const found = fstatSync(descriptor);
    if (!found.isFile()) throw notAFile(path, digest);
    if (digest !== null && expected !== undefined) checkSize(path, { digest, size: expected }, found.size);
    if (found.size > jsonLimit) throw tooLarge(path, digest, found.size);
    return readFileSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function openNow(path: string, digest: Digest | null): number {
  try {
    return openSync(path, plainly);
  } catch (error) {
    throw openError(path, digest, error);
  }
}

/** Reads a blob's bytes as they are, packed or not, and throws where they are not as they should be. */
export type BlobCheck = (bytes: AsyncIterable<Uint8Array>, signal?: AbortSignal) => Promise<void>;

/**
 * Reads a blob through once, and throws a {@link LayoutError} unless its size and digest are right. `check` sees the bytes in the same
 * pass; what it throws is thrown where the bytes are those of the digest, since of damaged ones it could only speak in riddles.
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
  await stream(path, blob, (source) => pipeline(source, hashInto(hash), { signal }));
  checkDigest(path, blob.digest, finish(hash));
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
    await stream(path, blob, (source) => check(hashed(source), signal));
  } catch (error) {
    if (error instanceof LayoutError || signal?.aborted === true) throw error;
    await checkBlob(path, blob, signal);
    throw error;
  }
  // A check may know before the end that all is well; the digest can't.
  if (read < blob.size) await checkBlob(path, blob, signal);
  else checkDigest(path, blob.digest, finish(hash));
}

/** Copies a blob to a new file while checking it, so that its bytes are read only once. */
export async function copyBlob(
  from: string,
  blob: Descriptor,
  to: string,
  signal?: AbortSignal,
): Promise<void> {
  const hash = createHash("sha256");
  await stream(from, blob, (source) =>
    pipeline(source, tap(hash), createWriteStream(to, { flags: "wx" }), { signal }),
  );
  checkDigest(from, blob.digest, finish(hash));
}

/** Like {@link checkBlob}, and in the same pass checks that the layer unpacks to the config's diff_id. */
export async function checkLayer(
  path: string,
  layer: Descriptor,
  diffId: Digest,
  signal?: AbortSignal,
): Promise<void> {
  const packed = createHash("sha256");
  const unpacked = createHash("sha256");
  let unpackError: unknown;
  await stream(path, layer, (source) =>
    pipeline(
      [source, tap(packed), ...decompressor(layer.mediaType), hashInto(unpacked, unpackedLimit(layer))],
      { signal },
    ),
  ).catch((error: unknown) => {
    if (error instanceof LayoutError || signal?.aborted === true) throw error;
    unpackError = error;
  });
  if (unpackError !== undefined) {
    // A layer whose bytes are not those of its name is damaged; only one that is whole can be wrongly packed.
    await checkBlob(path, layer, signal);
    throw unpackingError(path, layer, messageOf(unpackError));
  }
  checkDigest(path, layer.digest, finish(packed));
  requireDiffId(path, layer, diffId, finish(unpacked));
}

/** Throws where a layer unpacks to something else than the image's config says. */
export function requireDiffId(at: string, layer: Descriptor, diffId: Digest, found: Digest): void {
  if (found === diffId) return;
  const message = `${at}: the layer unpacks to ${found}, but the image's config says ${diffId} (rootfs.diff_ids)`;
  throw new LayoutError("diff-id", at, layer.digest, message);
}

/** That a layer, whole as it is, does not unpack. */
export function unpackingError(at: string, layer: Descriptor, why: string): LayoutError {
  const message = `${at}: the layer can't be unpacked as ${layer.mediaType}: ${why}`;
  return new LayoutError("diff-id", at, layer.digest, message);
}

/**
 * How many bytes a layer is unpacked to at most, before it counts as one that can't be. Gzip makes at most 1032 bytes of one (deflate's
 * longest match by its shortest code), and so is never refused for it; zstd makes any number.
 */
export function unpackedLimit({ size }: Descriptor): number {
  return 1024 * 1024 + 1032 * size;
}

/** The bytes of a layer as a tar stream, unpacked according to its media type. Not verified: check the blob first. */
export async function openLayer(path: string, layer: Descriptor): Promise<Readable[]> {
  const { handle } = await openRegular(path, layer.digest);
  return [handle.createReadStream({ highWaterMark: readAhead }), ...decompressor(layer.mediaType)];
}

/** What unpacks a layer of this media type, if anything has to. */
export function decompressor(mediaType: string) {
  // With a dot where they are Docker's own.
  if (/[+.]gzip$/.test(mediaType)) return [createGunzip()];
  if (/[+.]zstd$/.test(mediaType)) return [createZstdDecompress()];
  return [];
}

async function stream(
  path: string,
  blob: Descriptor,
  consume: (source: Readable) => Promise<void>,
): Promise<void> {
  const { handle, size } = await openRegular(path, blob.digest);
  try {
    checkSize(path, blob, size);
    await consume(handle.createReadStream({ highWaterMark: readAhead, autoClose: false }));
  } finally {
    await handle.close();
  }
}

/** A file and nothing else: a link could lead out of the layout, and a pipe would never end. */
const plainly = fsConstants.O_RDONLY | fsConstants.O_NOFOLLOW | fsConstants.O_NONBLOCK;

async function openRegular(
  path: string,
  digest: Digest | null,
): Promise<{ handle: FileHandle; size: number }> {
  let handle: FileHandle;
  try {
    handle = await open(path, plainly);
  } catch (error) {
    throw openError(path, digest, error);
  }
  const found = await handle.stat();
  if (!found.isFile()) {
    await handle.close();
    throw notAFile(path, digest);
  }
  return { handle, size: found.size };
}

function openError(path: string, digest: Digest | null, error: unknown): unknown {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new LayoutError("missing", path, digest, `${path}: is missing`);
  }
  if (code === "ELOOP" || code === "ENXIO") return notAFile(path, digest);
  return error;
}

function notAFile(path: string, digest: Digest | null): LayoutError {
  return new LayoutError("not-a-file", path, digest, `${path}: is not a regular file`);
}

function tooLarge(path: string, digest: Digest | null, size: number): LayoutError {
  return new LayoutError(
    "too-large",
    path,
    digest,
    `${path}: ${size} bytes are too many for an image's JSON (at most ${jsonLimit})`,
  );
}

function checkSize(path: string, blob: { digest: Digest; size: number }, size: number): void {
  if (size === blob.size) return;
  const problem = size < blob.size ? "truncated" : "oversized";
  throw new LayoutError(
    problem,
    path,
    blob.digest,
    `${path}: ${problem}: has ${size} bytes, its descriptor says ${blob.size}`,
  );
}

function checkDigest(path: string, expected: Digest, found: Digest): void {
  if (found === expected) return;
  throw new LayoutError(
    "damaged",
    path,
    expected,
    `${path}: damaged: its bytes have the digest ${found}, not the one they are filed under`,
  );
}

function finish(hash: Hash): Digest {
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

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
