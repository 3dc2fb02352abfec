import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { isDeepStrictEqual } from "node:util";
import { type Extract, type ExtractEvents, extract, type Header } from "tar-stream";
import { escapeControlCharacters } from "../lib/text/escape-control-characters.ts";
import { openLayer, readBlob } from "./blob.ts";
import type { Descriptor } from "./descriptor.ts";
import type { Digest } from "./digest.ts";
import { zip } from "./image.ts";
import {
  type ConfigDocument,
  type ManifestDocument,
  parseImageConfig,
  parseManifest,
} from "./image-documents.ts";

/** A platform's manifest, and where its blobs are (`Store.blobPath`, for example). */
export type ComparedManifest = {
  readonly manifest: Digest;
  readonly blobPath: (digest: Digest) => string;
};

/** The first difference between two images. */
export type ImageDifference = {
  /** Describes it: `layer 2: usr/lib/libfoo.so: content differs from byte 1040`. */
  readonly text: string;
  /** The layer, counted from 1, base first; null where it is not in a layer. */
  readonly layer: number | null;
  /** The file in the layer; null where it is not in one. */
  readonly path: string | null;
};

/**
 * Finds the first difference between two images of one platform: in their configs, in the number of
 * their layers, then in the files of each layer. Causes come before what follows from them, so a
 * digest is never named as a difference. Layers are streamed, so memory does not grow with them.
 * @returns null where the manifests are the same
 * @throws LayoutError where a blob is missing or its JSON damaged; layers must have been verified
 */
export async function compareManifests(
  first: ComparedManifest,
  second: ComparedManifest,
): Promise<ImageDifference | null> {
  if (first.manifest === second.manifest) return null;
  const a = await read(first);
  const b = await read(second);
  return (
    inConfig(a.config, b.config) ??
    inLayerCount(a.manifest, b.manifest) ??
    (await inLayers(a, b)) ??
    inMember("config: history", a.config.history, b.config.history) ??
    inMember("manifest", withoutDigests(a.manifest), withoutDigests(b.manifest)) ??
    outsideFiles("manifest: only its encoding, or a member no image needs, differs")
  );
}

type ReadImage = { manifest: ManifestDocument; config: ConfigDocument; blobPath: (digest: Digest) => string };

async function read({ manifest: digest, blobPath }: ComparedManifest): Promise<ReadImage> {
  const path = blobPath(digest);
  const manifest = parseManifest(await readBlob(path, { digest }), path, digest);
  const configPath = blobPath(manifest.config.digest);
  const config = parseImageConfig(
    await readBlob(configPath, manifest.config),
    configPath,
    manifest.config.digest,
  );
  return { manifest, config, blobPath };
}

function inConfig(a: ConfigDocument, b: ConfigDocument): ImageDifference | null {
  // Layers and history are compared later, where a difference says more.
  const { rootfs: _a, history: _ha, ...first } = a;
  const { rootfs: _b, history: _hb, ...second } = b;
  return inMember("config", first, second);
}

function inLayerCount(a: ManifestDocument, b: ManifestDocument): ImageDifference | null {
  if (a.layers.length === b.layers.length) return null;
  return outsideFiles(`number of layers: ${a.layers.length} and ${b.layers.length}`);
}

async function inLayers(a: ReadImage, b: ReadImage): Promise<ImageDifference | null> {
  for (const [position, [one, other]] of zip(a.manifest.layers, b.manifest.layers).entries()) {
    if (one.digest === other.digest) continue;
    const layer = position + 1;
    await using first = await openFiles(one, a);
    await using second = await openFiles(other, b);
    const found = await inFiles(first, second);
    if (found !== null) {
      return {
        text: `layer ${layer}: ${escapeControlCharacters(found.path)}: ${found.what}`,
        layer,
        path: found.path,
      };
    }
    const same = a.config.rootfs.diff_ids[position] === b.config.rootfs.diff_ids[position];
    const what = same
      ? "the same bytes, compressed in another way (was BuildKit built with another Go?)"
      : "the same files in the same order, written as tar in another way";
    return { text: `layer ${layer}: ${what}`, layer, path: null };
  }
  return null;
}

type FileDifference = { readonly path: string; readonly what: string };

type Entry = ExtractEvents["entry"][1];

/** A layer's entries, one after the other. Disposing of it ends the reading. */
type Files = AsyncDisposable & {
  next(): Promise<Entry | null>;
  /** Returns a reader of an entry's content, chunk by chunk, with an empty one at its end. */
  reader(entry: Entry): () => Promise<Buffer>;
};

async function openFiles(layer: Descriptor, image: ReadImage): Promise<Files> {
  const path = image.blobPath(layer.digest);
  const tar = extract();
  const entries = tar[Symbol.asyncIterator]();
  const stopped = new AbortController();
  const streams = [...(await openLayer(path, layer)), sinkTo(tar)];
  const flow = pipeline(streams, { signal: stopped.signal }).catch((error: unknown) => {
    if (!stopped.signal.aborted) throw new Error(`${path}: can't be read as a tar: ${String(error)}`);
  });
  // A broken layer ends both the entries and the flow; next() throws the flow's error, which names
  // the file.
  flow.catch(() => undefined);
  return {
    async next() {
      const result = await entries.next().catch(() => null);
      if (result !== null && result.done !== true) return result.value;
      await flow;
      return null;
    },
    reader(entry) {
      const chunks: AsyncIterator<unknown> = entry[Symbol.asyncIterator]();
      return async () => {
        const chunk = await chunks.next().catch(() => flow.then(() => null));
        return chunk !== null && Buffer.isBuffer(chunk.value) ? chunk.value : Buffer.alloc(0);
      };
    },
    async [Symbol.asyncDispose]() {
      stopped.abort();
      await flow.catch(() => undefined);
    },
  };
}

/** Wraps a stream of tar-stream, which is none of Node's own. */
function sinkTo(tar: Extract): Writable {
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      if (tar.write(chunk)) done();
      else tar.once("drain", () => done());
    },
    final(done) {
      tar.once("close", () => done());
      tar.end(null);
    },
    destroy(error, done) {
      tar.destroy(error);
      done(error);
    },
  });
  tar.on("error", (error) => sink.destroy(error));
  return sink;
}

async function inFiles(a: Files, b: Files): Promise<FileDifference | null> {
  for (;;) {
    const one = await a.next();
    const other = await b.next();
    if (one === null || other === null) {
      const extra = one ?? other;
      return extra === null ? null : onlyIn(one === null ? "second" : "first", extra.header.name);
    }
    if (one.header.name !== other.header.name) return inOrder(a, one, b, other);
    const found = inHeader(one.header, other.header) ?? (await inContent(a.reader(one), b.reader(other)));
    if (found !== null) return { path: one.header.name, what: found };
  }
}

/**
 * Explains two names that differ at the same place: one is missing in the other layer, or comes
 * later there.
 */
async function inOrder(a: Files, one: Entry, b: Files, other: Entry): Promise<FileDifference> {
  const [oneName, otherName] = [one.header.name, other.header.name];
  one.resume();
  other.resume();
  const otherComesInFirst = await hasLater(a, otherName);
  const oneComesInSecond = await hasLater(b, oneName);
  if (oneComesInSecond && otherComesInFirst) {
    return { path: oneName, what: `order: comes where the second has ${escapeControlCharacters(otherName)}` };
  }
  return oneComesInSecond ? onlyIn("second", otherName) : onlyIn("first", oneName);
}

async function hasLater(files: Files, name: string): Promise<boolean> {
  for (let entry = await files.next(); entry !== null; entry = await files.next()) {
    const isIt = entry.header.name === name;
    entry.resume();
    if (isIt) return true;
  }
  return false;
}

function onlyIn(side: "first" | "second", path: string): FileDifference {
  return { path, what: `is only in the ${side}` };
}

function inHeader(a: Header, b: Header): string | null {
  const owner = (header: Header) => `${header.uid}:${header.gid}`;
  const names = (header: Header) => `${header.uname ?? ""}:${header.gname ?? ""}`;
  const device = (header: Header) => `${header.devmajor ?? 0}:${header.devminor ?? 0}`;
  const facts: [string, unknown, unknown][] = [
    ["type", a.type, b.type],
    ["mode", octal(a.mode), octal(b.mode)],
    ["owner", owner(a), owner(b)],
    ["owner's name", names(a), names(b)],
    ["mtime", a.mtime?.toISOString(), b.mtime?.toISOString()],
    ["link", a.linkname ?? null, b.linkname ?? null],
    ["size", a.size, b.size],
    ["device", device(a), device(b)],
  ];
  const found = facts.find(([, one, other]) => one !== other);
  if (found !== undefined)
    return `${found[0]}: ${escapeControlCharacters(String(found[1]))} and ${escapeControlCharacters(String(found[2]))}`;
  return inMember("pax header", paxOf(a), paxOf(b))?.text ?? null;
}

async function inContent(a: () => Promise<Buffer>, b: () => Promise<Buffer>): Promise<string | null> {
  const at = await firstDifference(a, b);
  return at === null ? null : `content differs from byte ${at}`;
}

/**
 * Returns the offset of the first byte in which two contents of one length differ; null where there
 * is none.
 */
async function firstDifference(a: () => Promise<Buffer>, b: () => Promise<Buffer>): Promise<number | null> {
  let [one, other]: [Buffer, Buffer] = [Buffer.alloc(0), Buffer.alloc(0)];
  for (let offset = 0; ; ) {
    if (one.length === 0) one = await a();
    if (other.length === 0) other = await b();
    const length = Math.min(one.length, other.length);
    if (length === 0) return null;
    if (one.compare(other, 0, length, 0, length) !== 0) {
      return offset + one.findIndex((byte, at) => byte !== other[at]);
    }
    offset += length;
    one = one.subarray(length);
    other = other.subarray(length);
  }
}

/** Finds the first member, by name and depth first, in which two JSON values differ. */
function inMember(where: string, a: unknown, b: unknown): ImageDifference | null {
  if (isDeepStrictEqual(a, b)) return null;
  if (isObject(a) && isObject(b)) {
    const names = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
    const name = names.find((name) => !isDeepStrictEqual(a[name], b[name])) ?? "";
    return inMember(`${where}${Array.isArray(a) ? `[${name}]` : `.${name}`}`, a[name], b[name]);
  }
  return outsideFiles(`${where}: ${json(a)} and ${json(b)}`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function withoutDigests({ config, layers, ...rest }: ManifestDocument): unknown {
  const bare = ({ digest: _digest, size: _size, ...described }: ManifestDocument["config"]) => described;
  return { ...rest, config: bare(config), layers: layers.map(bare) };
}

/** Returns extended attributes and anything else that has no member of its own in a header. */
function paxOf(header: Header): unknown {
  if (!isObject(header.pax)) return {};
  const { path: _path, linkpath: _linkpath, size: _size, ...rest } = header.pax;
  return rest;
}

function outsideFiles(text: string): ImageDifference {
  return { text, layer: null, path: null };
}

function octal(mode: number | undefined): string {
  return (mode ?? 0).toString(8).padStart(4, "0");
}

function json(value: unknown): string {
  const text = value === undefined ? "absent" : JSON.stringify(value);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
