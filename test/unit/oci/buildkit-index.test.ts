import { expect, test } from "vitest";
import { buildkitIndex, buildkitIndexJson } from "../../../oci/buildkit-index.ts";
import { mediaTypes } from "../../../oci/descriptor.ts";
import { parseDigest } from "../../../oci/digest.ts";

const manifest = {
  mediaType: mediaTypes.manifest,
  digest: parseDigest(`sha256:${"0".repeat(64)}`),
  size: 760,
};

test("buildkitIndex indents like Go's encoding/json, with the platform's members in Go's order", () => {
  const { bytes, size } = buildkitIndex(manifest, "linux/arm/v7");
  expect(bytes.toString()).toBe(`{
  "schemaVersion": 2,
  "mediaType": "application/vnd.oci.image.index.v1+json",
  "manifests": [
    {
      "mediaType": "application/vnd.oci.image.manifest.v1+json",
      "digest": "sha256:${"0".repeat(64)}",
      "size": 760,
      "platform": {
        "architecture": "arm",
        "os": "linux",
        "variant": "v7"
      }
    }
  ]
}`);
  expect(size).toBe(bytes.length);
});

test("buildkitIndexJson names the image as BuildKit's exporter does", () => {
  const index = buildkitIndex(manifest, "linux/amd64");
  const parsed = JSON.parse(buildkitIndexJson(index, "core-sh", "1.0"));
  expect(parsed.manifests[0]).toEqual({
    mediaType: mediaTypes.index,
    digest: index.digest,
    size: index.size,
    annotations: {
      "io.containerd.image.name": "docker.io/stagex/core-sh:1.0",
      "org.opencontainers.image.created": "1970-01-01T00:00:01Z",
      "org.opencontainers.image.ref.name": "1.0",
    },
  });
});
