import { computeInputKey } from "../input-key.ts";
import { buildArgsOf } from "../recipe/package-sources.ts";
import { parsePackageToml } from "../recipe/package-toml-parser.ts";
import type { StagexGenerator } from "./generator.ts";

/**
 * The generator `src/targets.py` of all releases since 2024.12.0. It reads
 * `packages/<stage>/<name>/package.toml` and the Containerfile beside it.
 */
export const targetsPy: StagexGenerator = {
  name: undefined,
  isFor: (files) => files.some(({ path }) => /^packages\/[^/]+\/[^/]+\/package\.toml$/.test(path)),
  parsePackage: parsePackageToml,
  // A package with subpackages is not an image itself.
  imagesOf: (stage, { name, subpackages }) =>
    subpackages.length === 0
      ? [{ name: `${stage}-${name}`, target: null }]
      : subpackages.map((own) => ({ name: `${stage}-${own}`, target: `package-${own}` })),
  buildArgsOf,
  sourcesOf: ({ resolvedSources }) => resolvedSources,
  computeInputKey: computeInputKey,
  commonOptions: {
    options: { ulimit: "nofile=2048:16384" },
    buildArgs: {
      SOURCE_DATE_EPOCH: "1",
      BUILDKIT_MULTI_PLATFORM: "1",
      BUILDKIT_DOCKERFILE_CHECK: "skip=FromPlatformFlagConstDisallowed;error=true",
    },
    output: {
      "rewrite-timestamp": "true",
      "force-compression": "true",
      "oci-mediatypes": "true",
    },
    annotations: (image, version) => ({
      "containerd.io/distribution.source.docker.io": `stagex/${image}`,
      "org.opencontainers.image.version": version,
      "org.opencontainers.image.created": "1970-01-01T00:00:01Z",
    }),
  },
};
