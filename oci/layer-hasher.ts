import { createHash } from "node:crypto";
import { once } from "node:events";
import { Writable } from "node:stream";
import { decompressor, unpackedLimit } from "./blob.ts";
import { type Digest, parseDigest } from "./digest.ts";
import type { Descriptor } from "./image.ts";

/** Hashes a layer as it passes by, as it is and unpacked; none of it is kept. What can't be unpacked is hashed as it is, and said. */
export class LayerHasher {
  readonly #layer: Descriptor;
  #packed = createHash("sha256");
  #unpacked = createHash("sha256");
  #trouble: string | undefined;

  constructor(layer: Descriptor) {
    this.#layer = layer;
  }

  /** A stream to write the layer to; what was written before is forgotten. */
  restart(): Writable {
    const [packed, unpacked] = [createHash("sha256"), createHash("sha256")];
    const limit = unpackedLimit(this.#layer);
    this.#packed = packed;
    this.#unpacked = unpacked;
    this.#trouble = undefined;
    const [unpacking] = decompressor(this.#layer.mediaType);
    const ended = new Promise<void>((resolve) => unpacking?.once("close", resolve));
    let size = 0;
    unpacking?.on("data", (chunk: Buffer) => {
      size += chunk.length;
      unpacked.update(chunk);
      if (size > limit) unpacking.destroy(new Error(`more than ${limit} bytes come out of it`));
    });
    unpacking?.on("error", ({ message }) => {
      this.#trouble ??= message;
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

  packed(): Digest {
    return parseDigest(`sha256:${this.#packed.copy().digest("hex")}`);
  }

  /** What it unpacks to, or why it can't be. */
  unpacked(): { readonly digest: Digest } | { readonly trouble: string } {
    if (this.#trouble !== undefined) return { trouble: this.#trouble };
    return { digest: parseDigest(`sha256:${this.#unpacked.copy().digest("hex")}`) };
  }
}
