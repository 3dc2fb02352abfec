import { expect, test } from "vitest";
import { parseManifest } from "../../oci/image-documents.ts";
import { publicationInputs } from "../../pipeline/publication/inputs.ts";
import { parsePinnedImage } from "../../trust/signatures/image-reference.ts";
import { payload } from "../support/builders/maintainers.ts";
import { expectRejected } from "../support/builders/signed-payload.ts";

const paths = [
  "sha256:../..",
  "sha256:../../../../etc/passwd",
  `sha256:${"A".repeat(64)}`,
  "md5:../..",
  `sha256:${"0".repeat(64)}/..`,
];

test.each(paths)("rejects a path as a digest in a payload: %s", (manifest) =>
  expectRejected(payload({ manifest }), "payload-members", /no digest/),
);

test.each(paths)("rejects a path as a digest on the command line: %s", (digest) => {
  expect(() => parsePinnedImage(`stagex/core-seed:1.0@${digest}`)).toThrow(/not a digest/);
});

test.each(paths)("rejects a path as a digest to publish: %s", (digest) => {
  const found = publicationInputs.safeParse({ digest, index: digest });
  const wrong = found.error?.issues.filter(({ path }) => ["digest", "index"].includes(String(path[0])));
  expect(wrong?.map(({ message }) => message)).toEqual(
    Array(2).fill(expect.stringContaining("not a digest")),
  );
});

test.each(paths)("rejects a path as a digest in a manifest: %s", (digest) => {
  const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest, size: 1 };
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers: [] }));
  expect(() => parseManifest(manifest, "manifest", null)).toThrow(/config\.digest: not a digest/);
});

test.each([
  "../../etc:1",
  "stagex/../../etc:1",
  "/etc/passwd:1",
  "stagex//x:1",
  "stagex/X:1",
  "stagex/x:../1",
])("rejects a path as a repository: %s", (reference) => {
  expect(() => parsePinnedImage(`${reference}@sha256:${"0".repeat(64)}`)).toThrow(/not a repository|no tag/);
});
