import { expect, test } from "vitest";
import { mediaTypes } from "../../oci/descriptor.ts";
import { digestOf } from "../../oci/digest.ts";
import { parseIndex, parseManifest } from "../../oci/image-documents.ts";
import { LayoutError } from "../../oci/layout-error.ts";

// An index is read before its signatures are: each entry would be one more document to ask for.
const descriptor = (text: string, mediaType: string) => ({ mediaType, digest: digestOf(text), size: 2 });

function index(count: number): Buffer {
  const manifests = Array.from({ length: count }, (_, number) => ({
    ...descriptor(`${number}`, mediaTypes.manifest),
    platform: { os: "linux", architecture: `a${number}` },
  }));
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests }));
}

function manifest(count: number): Buffer {
  const layers = Array.from({ length: count }, (_, number) =>
    descriptor(`${number}`, "application/vnd.oci.image.layer.v1.tar+gzip"),
  );
  const config = descriptor("{}", mediaTypes.config);
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers }));
}

test("refuses an index with too many platforms, quickly", () => {
  expect(parseIndex(index(64), "there", null)).toHaveLength(64);
  const began = performance.now();
  expect(() => parseIndex(index(20_000), "there", null)).toThrow(LayoutError);
  expect(() => parseIndex(index(65), "there", null)).toThrow(/manifests: .*64/);
  expect(performance.now() - began).toBeLessThan(2_000);
});

test("refuses a manifest with too many layers", () => {
  expect(parseManifest(manifest(1024), "there", null).layers).toHaveLength(1024);
  expect(() => parseManifest(manifest(1025), "there", null)).toThrow(/layers: .*1024/);
});
