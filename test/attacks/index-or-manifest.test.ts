import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { mediaTypes } from "../../oci/descriptor.ts";
import { digestOf } from "../../oci/digest.ts";
import { imageInLayout, listManifests } from "../../oci/registry/image-source.ts";
import { writeLayout } from "../support/builders/image-layout.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";

describe("documents that another client may read otherwise are refused", () => {
  /** What is found where an image's index is this document, made from a good one over a manifest that everybody has signed. */
  async function found(
    change: (index: Record<string, unknown>) => object,
    rewrite = (text: string) => text,
  ): Promise<unknown> {
    const folder = await scratchFolder();
    const { manifests } = await writeLayout(folder, {
      platforms: { "linux/amd64": { layers: [[{ name: "hello", content: "hello" }]] } },
    });
    const [signed = digestOf("")] = manifests;
    const [known] = await listManifests(imageInLayout(folder));
    const entry = {
      mediaType: mediaTypes.manifest,
      digest: signed,
      size: known?.size,
      platform: { os: "linux", architecture: "amd64" },
    };
    const document = rewrite(JSON.stringify(change({ schemaVersion: 2, manifests: [entry] })));
    const root = digestOf(document);
    writeFileSync(join(folder, "blobs/sha256", root.slice("sha256:".length)), document);
    const named = { mediaType: mediaTypes.index, digest: root, size: Buffer.byteLength(document) };
    writeFileSync(join(folder, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
    return (await listManifests(imageInLayout(folder))).map(({ digest }) => digest === signed);
  }

  const blob = { mediaType: mediaTypes.layers[0], digest: digestOf("evil"), size: 4 };
  const config = { ...blob, mediaType: mediaTypes.config };

  test("accepts a good index", async () => {
    expect(await found((index) => index)).toEqual([true]);
  });

  test("refuses an index with layers (CVE-2021-41190)", async () => {
    await expect(found((index) => ({ ...index, config, layers: [blob] }))).rejects.toThrow(
      /"config", "layers"/,
    );
  });

  test("refuses an index with two spellings of manifests, of which Go takes the last", async () => {
    const manifests = [{ ...blob, mediaType: mediaTypes.manifest }];
    await expect(found((index) => ({ ...index, Manifests: manifests }))).rejects.toThrow(/"Manifests"/);
  });

  test("refuses a descriptor with two digests", async () => {
    const twice = (entry: unknown) => ({ ...Object(entry), Digest: digestOf("evil") });
    await expect(
      found((index) => ({ ...index, manifests: (index.manifests as unknown[]).map(twice) })),
    ).rejects.toThrow(/"Digest"/);
  });

  test.each([
    ["manifests", '"manifests":[],', /"manifests" twice/],
    [
      "mediaType",
      `"mediaType":"${mediaTypes.index}","mediaType":"${mediaTypes.index}",`,
      /"mediaType" twice/,
    ],
    [
      "manifests, one of them too deep",
      `"manifests":${"[".repeat(1e5)}${"]".repeat(1e5)},`,
      /JSON reader|twice/,
    ],
    ["manifests, one of them in escapes", '"\\u006danifests":[],', /"manifests" twice/],
  ])("refuses an index with two %s", async (_, member, fault) => {
    const twice = (text: string) => text.replace("{", `{${member}`);
    await expect(found((index) => index, twice)).rejects.toThrow(fault);
  });

  test.each([
    ["subject", { subject: { ...blob, mediaType: mediaTypes.manifest } }],
    ["artifactType", { artifactType: "application/vnd.example" }],
  ])("refuses an index that is about another image by its %s", async (name, member) => {
    await expect(found((index) => ({ ...index, ...member }))).rejects.toThrow(`"${name}"`);
  });

  test("refuses an index without manifests", async () => {
    await expect(found((index) => ({ ...index, manifests: [] }))).rejects.toThrow(/lists no manifest/);
  });
});
