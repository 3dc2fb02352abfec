import { expect, test } from "vitest";
import { z } from "zod";
import type { BuildPlan } from "../../../../distro/build-plan.ts";
import { digestOf, hexOf } from "../../../../oci/digest.ts";
import { type BuildDescription, provenanceOf } from "../../../../pipeline/statements/provenance.ts";
import { serializeStatement } from "../../../../trust/statements/statement.ts";

/** in-toto/attestation, spec/v1/resource_descriptor.md: one of uri, digest and content must be there; a uri is an RFC 3986 one. */
const resource = z
  .strictObject({
    name: z.string().optional(),
    uri: z
      .string()
      .regex(/^[a-z][a-z0-9+.-]*:\S+$/)
      .optional(),
    digest: z.record(z.string().regex(/^[A-Za-z0-9_]+$/), z.string().regex(/^[0-9a-f]+$/)).optional(),
  })
  .refine(({ uri, digest }) => uri !== undefined || digest !== undefined);
/** A TypeURI (in-toto/attestation, spec/v1/field_types.md). */
const typeUri = z.string().regex(/^[a-z][a-z0-9+.-]*:\S+$/);
/** slsa.dev/spec/v1.0/provenance: what is required, and no field that it does not have. */
const slsa = z.strictObject({
  buildDefinition: z.strictObject({
    buildType: typeUri,
    externalParameters: z.record(z.string(), z.unknown()),
    internalParameters: z.record(z.string(), z.unknown()),
    resolvedDependencies: z.array(resource),
  }),
  runDetails: z.strictObject({
    builder: z.strictObject({ id: typeUri, version: z.record(z.string(), z.string()) }),
    metadata: z.strictObject({
      invocationId: z.string(),
      startedOn: z.iso.datetime().optional(),
      finishedOn: z.iso.datetime(),
    }),
  }),
});
/** in-toto/attestation, spec/v1/statement.md: subjects are told apart by their names. */
const statement = z.strictObject({
  _type: z.literal("https://in-toto.io/Statement/v1"),
  subject: z
    .array(z.strictObject({ name: z.string(), digest: z.strictObject({ sha256: z.hash("sha256") }) }))
    .min(1)
    .refine((all) => new Set(all.map(({ name }) => name)).size === all.length),
  predicateType: z.literal("https://slsa.dev/provenance/v1"),
  predicate: slsa,
});

const hex = (text: string) => hexOf(digestOf(text));
const plan: BuildPlan = {
  runs: [],
  refusals: [],
  fetchers: [],
  name: "core-tool",
  stage: "core",
  origin: "tool",
  folder: "packages/core/tool",
  recipe: "packages/core/tool/Containerfile",
  containerfile: hex("FROM scratch"),
  target: null,
  version: "1.2",
  platforms: ["linux/amd64"],
  buildArgs: { VERSION: "1.2" },
  dependencies: ["core-seed"],
  sources: [
    {
      name: "tool",
      file: "tool.tar",
      sha256: hex("tar"),
      mirrors: ["https://a.example/t", "https://b.example/t"],
    },
  ],
  context: [
    { path: "Containerfile", mode: "100644", sha256: hex("FROM scratch") },
    { path: "fix.patch", mode: "100644", sha256: hex("patch") },
  ],
};
const build: BuildDescription = {
  plan,
  repository: "stagex/core-tool",
  inputKey: hex("key"),
  dependencies: { "core-seed": digestOf("seed") },
  digests: { index: digestOf("index"), platforms: { "linux/amd64": digestOf("tool") } },
  tree: { commit: "c0".repeat(20), path: "examples/tree" },
  builder: {
    id: "amd64-1",
    facts: { arch: "amd64", cpuVendor: "AuthenticAMD", kernel: "6.1", buildkit: "v0.34.2", go: "go1.26.8" },
  },
  finished: "2026-03-01T10:00:02.000Z",
  seconds: 2,
};

test("makes SLSA provenance in an in-toto statement, the same each time", () => {
  expect(statement.safeParse(provenanceOf(build)).error).toBeUndefined();
  expect(serializeStatement(provenanceOf(build))).toEqual(
    serializeStatement(provenanceOf(structuredClone(build))),
  );
});

test("names the outputs, the inputs, the builder and the time", () => {
  const { subject, predicate } = statement.parse(provenanceOf(build));
  expect(subject).toEqual([{ name: "stagex/core-tool:1.2", digest: { sha256: hex("tool") } }]);
  const { buildDefinition, runDetails } = predicate;
  expect(buildDefinition.externalParameters).toEqual({
    image: "core-tool",
    version: "1.2",
    recipe: "packages/core/tool/Containerfile",
    target: null,
    platforms: ["linux/amd64"],
    buildArgs: { VERSION: "1.2" },
  });
  expect(buildDefinition.internalParameters).toEqual({
    inputKey: hex("key"),
    arch: "amd64",
    cpuVendor: "AuthenticAMD",
  });
  expect(buildDefinition.resolvedDependencies).toEqual([
    { name: "examples/tree", digest: { gitCommit: "c0".repeat(20) } },
    { name: "packages/core/tool/Containerfile", digest: { sha256: hex("FROM scratch") } },
    { name: "packages/core/tool/fix.patch", digest: { sha256: hex("patch") } },
    { name: "fetch/core/tool/tool.tar", uri: "https://a.example/t", digest: { sha256: hex("tar") } },
    {
      name: "stagex/core-seed",
      uri: `pkg:oci/core-seed@sha256%3A${hex("seed")}`,
      digest: { sha256: hex("seed") },
    },
  ]);
  expect(runDetails).toEqual({
    builder: {
      id: "urn:stagex-pulumi:builder:amd64-1",
      version: { kernel: "6.1", buildkit: "v0.34.2", go: "go1.26.8" },
    },
    metadata: {
      invocationId: `${hex("key")}/amd64-1`,
      startedOn: "2026-03-01T10:00:00.000Z",
      finishedOn: "2026-03-01T10:00:02.000Z",
    },
  });
});

test("lists the index and each manifest of an image for several platforms", () => {
  const platforms = { "linux/amd64": digestOf("x86"), "linux/arm64": digestOf("arm") };
  const { subject } = statement.parse(
    provenanceOf({ ...build, digests: { index: digestOf("index"), platforms } }),
  );
  expect(subject.map(({ name, digest }) => [name, digest.sha256])).toEqual([
    ["stagex/core-tool:1.2", hex("index")],
    ["stagex/core-tool:1.2#linux/amd64", hex("x86")],
    ["stagex/core-tool:1.2#linux/arm64", hex("arm")],
  ]);
});

test("leaves unknown facts out", () => {
  const { predicate } = statement.parse(provenanceOf({ ...build, tree: null, seconds: null }));
  expect(predicate.runDetails.metadata.startedOn).toBeUndefined();
  expect(JSON.stringify(predicate)).not.toContain("gitCommit");
});
