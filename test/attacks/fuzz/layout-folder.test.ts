import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect } from "vitest";
import { layoutBlobPath, readLayout } from "../../../oci/layout.ts";
import { LayoutError } from "../../../oci/layout-error.ts";
import { writeLayout } from "../../support/builders/image-layout.ts";
import { scratchFolder } from "../../support/builders/scratch-folder.ts";
import { fuzz } from "./fuzzer.ts";

/** Alters one file of a layout at a time. The reader must return the written image, or fail. */
fuzz("layout folder", async () => {
  const folder = join(await scratchFolder(), "layout");
  const written = await writeLayout(folder, {
    platforms: {
      "linux/amd64": { layers: [[{ name: "bin/hello", content: "x86" }], [{ name: "etc/motd" }]] },
    },
  });
  const image = await readLayout(folder, { diffIds: true });
  const blobs = [written.index, ...written.manifests, ...written.configs, ...written.layers];
  const paths = [
    join(folder, "oci-layout"),
    join(folder, "index.json"),
    ...blobs.map((digest) => layoutBlobPath(folder, digest)),
  ];
  const seeds = paths.map((path) => readFileSync(path));
  let next = 0;
  return {
    seeds,
    dictionary: ['"mediaType"', '"digest"', '"size"', "sha256:", "{}", "[]"],
    expected: [LayoutError],
    async read(input) {
      const place = next++ % paths.length;
      const path = paths[place] ?? "";
      rmSync(path, { recursive: true, force: true });
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, input);
      try {
        expect(await readLayout(folder, { diffIds: true })).toEqual(image);
      } finally {
        writeFileSync(path, seeds[place] ?? "");
      }
    },
  };
});
