import { open } from "node:fs/promises";

/**
 * The start of the block that Go's linker puts into every binary (Go's debug/buildinfo,
 * "buildInfoMagic").
 */
const magic = Buffer.from("\xff Go buildinf:", "latin1");
/** The block's start is a multiple of this many bytes. */
const alignment = 16;
/**
 * The bit of the second byte after the magic that marks strings in the block itself (Go 1.18 and
 * newer).
 */
const stringsFollow = 0x2;
/** The offset of the first string, Go's version: one byte of length, then that many bytes. */
const versionOffset = 32;
const longestVersion = 127;
const chunkSize = 4 * 1024 * 1024;

/**
 * Reads the Go version of a binary, such as `go1.26.8`, as `go version FILE` does, without a Go on
 * the machine. Returns null for another file, and for a binary of a Go before 1.18.
 *
 * @throws the file system's error when the file can't be read
 */
export async function goVersionOf(path: string): Promise<string | null> {
  const file = await open(path, "r");
  try {
    const overlap = alignment + versionOffset + 1 + longestVersion;
    const chunk = Buffer.alloc(chunkSize + overlap);
    for (let position = 0; ; position += chunkSize) {
      const { bytesRead } = await file.read(chunk, 0, chunk.length, position);
      const version = versionWithin(chunk.subarray(0, bytesRead));
      if (version !== null || bytesRead <= overlap) return version;
    }
  } finally {
    await file.close();
  }
}

function versionWithin(bytes: Buffer): string | null {
  for (let at = bytes.indexOf(magic); at >= 0; at = bytes.indexOf(magic, at + 1)) {
    const flags = bytes[at + magic.length + 1] ?? 0;
    const length = bytes[at + versionOffset] ?? 0;
    if (at % alignment !== 0 || (flags & stringsFollow) === 0 || length > longestVersion) continue;
    const text = bytes.toString("latin1", at + versionOffset + 1, at + versionOffset + 1 + length);
    // Binaries that read such blocks (go, buildkitd) contain the magic as data too.
    const found = /^go\d+\.\d+\S*/.exec(text);
    if (found !== null) return found[0];
  }
  return null;
}
