import { createHash } from "node:crypto";
import { once } from "node:events";
import { Writable } from "node:stream";
import { decompressor, unpackedLimit } from "./blob.ts";
import type { Descriptor } from "./descriptor.ts";
import { type Digest, parseDigest } from "./digest.ts";

/** Hashes a layer that streams through it, packed and unpacked, and keeps none of it. */
export class LayerHasher {
  readonly #layer: Descriptor;
  #packed = createHash("sha256");
  #unpacked = createHash("sha256");
  #unpackError: string | undefined;

  constructor(layer: Descriptor) {
    this.#layer = layer;
  }

  /** Returns a stream to write the layer to, and forgets what was written before. */
  restart(): Writable {
    const [packed, unpacked] = [createHash("sha256"), createHash("sha256")];
    const limit = unpackedLimit(this.#layer);
    this.#packed = packed;
    this.#unpacked = unpacked;
    this.#unpackError = undefined;
    const [unpacking] = decompressor(this.#layer.mediaType);
    const ended = new Promise<void>((resolve) => unpacking?.once("close", resolve));
    let size = 0;
    unpacking?.on("data", (chunk: Buffer) => {
      size += chunk.length;
      unpacked.update(chunk);
      if (size > limit) unpacking.destroy(new Error(`more than ${limit} bytes come out of it`));
    });
    unpacking?.on("error", ({ message }) => {
      this.#unpackError ??= message;
    });
    return new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        packed.update(chunk);
        if (unpacking === undefined) unpacked.update(chunk);
        if (unpacking === undefined || unpacking.destroyed || unpacking.write(chunk)) return done();
        Promise.race([once(unpacking, "drain"), ended]).then(
          () => done(),
          () => done(),
        );
      },
      final: (done) => {
        if (unpacking === undefined || unpacking.destroyed) return done();
        unpacking.end();
        ended.then(() => done());
      },
    });
  }

  /** Returns the digest of the bytes as they were written. */
  packed(): Digest {
    return parseDigest(`sha256:${this.#packed.copy().digest("hex")}`);
  }

  /** Returns the digest of the unpacked bytes, or why they can't be unpacked. */
  unpacked(): { readonly digest: Digest } | { readonly reason: string } {
    if (this.#unpackError !== undefined) return { reason: this.#unpackError };
    return { digest: parseDigest(`sha256:${this.#unpacked.copy().digest("hex")}`) };
  }
}
