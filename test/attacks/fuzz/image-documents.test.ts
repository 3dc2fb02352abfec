import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import { isDigest } from "../../../oci/digest.ts";
import {
  parseImageConfig,
  parseIndex,
  parseLayoutIndex,
  parseManifest,
} from "../../../oci/image-documents.ts";
import { layoutBlobPath } from "../../../oci/layout.ts";
import { LayoutError } from "../../../oci/layout-error.ts";
import { writeLayout } from "../../support/builders/image-layout.ts";
import { scratchFolder } from "../../support/builders/scratch-folder.ts";
import { fuzz, type Surface } from "./fuzzer.ts";

const dictionary = [
  '"mediaType"',
  '"manifests"',
  '"layers"',
  '"config"',
  '"platform"',
  '"annotations"',
  "sha256:",
  "unknown",
  '"size"',
  "linux",
  '"vnd.docker.reference.type"',
  "{}",
  "[]",
  "null",
];

/** The documents of one kind of a written image, and what reads them. */
async function documents(
  pathsOf: (layout: Awaited<ReturnType<typeof writeLayout>>) => readonly string[],
  read: (input: Buffer) => void,
): Promise<Surface> {
  const layers = [[{ name: "bin/hello", content: "x86" }]];
  const layout = await writeLayout(join(await scratchFolder(), "layout"), {
    platforms: { "linux/arm64": { layers }, "linux/amd64": { layers, env: ["A=B"] } },
  });
  const seeds = await Promise.all(pathsOf(layout).map((path) => readFile(path)));
  return { seeds, dictionary, expected: [LayoutError], read };
}

fuzz("image index", () =>
  documents(
    ({ folder, index }) => [layoutBlobPath(folder, index)],
    (input) => {
      const entries = parseIndex(input, "index", null);
      expect(entries.length).toBeGreaterThan(0);
      for (const { digest, size, platform } of entries) {
        expect(isDigest(digest) && Number.isSafeInteger(size) && size >= 0).toBe(true);
        expect(platform).not.toMatch(/^unknown\//);
      }
    },
  ),
);

fuzz("manifest", () =>
  documents(
    ({ folder, manifests }) => manifests.map((digest) => layoutBlobPath(folder, digest)),
    (input) => {
      const { layers, config } = parseManifest(input, "manifest", null);
      expect([config, ...layers].every(({ digest }) => isDigest(digest))).toBe(true);
    },
  ),
);

fuzz("image config", () =>
  documents(
    ({ folder, configs }) => configs.map((digest) => layoutBlobPath(folder, digest)),
    (input) => {
      expect(parseImageConfig(input, "config", null).rootfs.diff_ids.every(isDigest)).toBe(true);
    },
  ),
);

fuzz("layout's index.json", () =>
  documents(
    ({ folder }) => [join(folder, "index.json")],
    (input) => {
      expect(isDigest(parseLayoutIndex(input, "index.json").digest)).toBe(true);
    },
  ),
);
