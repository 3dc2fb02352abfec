import { expect, test } from "vitest";
import { parseRequest } from "../../../../cli/verify/verify-request.ts";
import { writeLayout } from "../../../support/builders/image-layout.ts";
import { digest } from "../../../support/builders/maintainers.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

test.each([
  ["stagex/core-sh:1.0", "docker.io/stagex/core-sh", { tag: "1.0" }, "1.0"],
  [`stagex/core-sh@${digest}`, "docker.io/stagex/core-sh", { digest }, null],
  [`stagex/core-sh:1.0@${digest}`, "docker.io/stagex/core-sh", { digest }, "1.0"],
  ["index.docker.io/stagex/core-sh:1.0", "docker.io/stagex/core-sh", { tag: "1.0" }, "1.0"],
  ["quay.example/a/b/core-sh:latest", "quay.example/a/b/core-sh", { tag: "latest" }, null],
  ["localhost:5000/core-sh:sx2026.03.0", "localhost:5000/core-sh", { tag: "sx2026.03.0" }, null],
  // A tag that only begins as one that moves is a version.
  ["stagex/core-sh:latest-1", "docker.io/stagex/core-sh", { tag: "latest-1" }, "latest-1"],
])("%s", (image, repository, what, signedTag) => {
  expect(parseRequest(image)).toEqual({
    image,
    source: { repository, what },
    signedAs: repository,
    signedTag,
  });
});

test.each([
  ["stagex/core-sh", /neither a tag nor a digest/],
  ["localhost:5000/core-sh", /neither a tag nor a digest/],
  ["stagex/core-sh:1.0@sha256:../..", /not a digest/],
  [`stagex/core-sh@${digest}@${digest}`, /not an image/],
  ["https://docker.io/stagex/core-sh:1.0", /not a repository/],
  ["10.0.0.1:5000/stagex/core-sh:1.0", /in clear text/],
])("refused: %s", (image, words) => {
  expect(() => parseRequest(image)).toThrow(words);
});

test.each([
  ["stagex", "docker.io/stagex/core-sh"],
  ["stagex/core-sh", "docker.io/stagex/core-sh"],
  ["quay.example/mirror", "quay.example/mirror/core-sh"],
])("signed as %s", (signedAs, expected) => {
  expect(parseRequest("localhost:5000/elsewhere/core-sh:1.0", signedAs).signedAs).toBe(expected);
});

test("names a layout folder's image by the folder, and leaves its version to the manifest", async () => {
  const folder = `${await scratchFolder()}/core-sh`;
  await writeLayout(folder, { platforms: { "linux/amd64": { layers: [] } } });
  expect(parseRequest(folder)).toEqual({
    image: folder,
    source: { folder },
    signedAs: "docker.io/stagex/core-sh",
    signedTag: null,
  });
});
