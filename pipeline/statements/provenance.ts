import type { BuildPlan } from "../../distro/build-plan.ts";
import { type Digest, hexOf } from "../../oci/digest.ts";
import { createStatement, type Statement, type StatementSubject } from "../../trust/statements/statement.ts";

/** SLSA provenance, version 1 (slsa.dev/spec/v1.0/provenance). */
export const provenancePredicateType = "https://slsa.dev/provenance/v1";

/**
 * The build type of packages. Its `externalParameters` are those of {@link Provenance}. With them,
 * this project or StageX's own make rule builds the same bytes from the `resolvedDependencies`,
 * without network.
 */
export const buildType = "urn:stagex-pulumi:package-build:1";

/** The facts about a build. */
export type BuildDescription = {
  readonly plan: BuildPlan;
  /** The name that the image is signed under, without its tag: `stagex/core-sh`. */
  readonly repository: string;
  /** The key over all inputs that can change the image's bytes, as in the ledger. */
  readonly inputKey: string;
  /** Dependencies: image name to the digest that was used. */
  readonly dependencies: Readonly<Record<string, Digest>>;
  readonly digests: { readonly index: Digest | null; readonly platforms: Readonly<Record<string, Digest>> };
  /**
   * The commit of the package's folder, and the path of the tree in its repository; null if
   * unknown.
   */
  readonly tree: { readonly commit: string; readonly path: string } | null;
  readonly builder: {
    /** Its id in the ledger. */
    readonly id: string;
    /** The ledger's facts: version of BuildKit and Go, kernel, arch, CPU. */
    readonly facts: Readonly<Record<string, string | undefined>>;
  };
  /** The end of the build, as in the ledger. */
  readonly finished: string;
  readonly seconds: number | null;
  /** The fetches of its recipe in a RUN: sha256 of the fetch record, and each file. */
  readonly fetched?: {
    readonly record: string;
    readonly files: readonly { readonly url: string; readonly sha256: string }[];
  };
};

/** An input of the build (in-toto/attestation, spec/v1/resource_descriptor.md). */
export type ResourceDescriptor = {
  readonly name: string;
  readonly uri?: string;
  readonly digest: Readonly<Record<string, string>>;
};

/** The predicate (slsa.dev/spec/v1.0/provenance, "Schema"). */
export type Provenance = {
  readonly buildDefinition: {
    readonly buildType: string;
    readonly externalParameters: {
      readonly image: string;
      readonly version: string;
      readonly recipe: string;
      readonly target: string | null;
      readonly platforms: readonly string[];
      readonly buildArgs: Readonly<Record<string, string>>;
    };
    readonly internalParameters: Readonly<Record<string, string>>;
    readonly resolvedDependencies: readonly ResourceDescriptor[];
  };
  readonly runDetails: {
    readonly builder: { readonly id: string; readonly version: Readonly<Record<string, string>> };
    readonly metadata: {
      readonly invocationId: string;
      readonly startedOn?: string;
      readonly finishedOn: string;
    };
  };
};

/** Facts that are versions of the builder's software. The other facts describe the machine. */
const versionFacts = new Set(["buildkit", "go", "kernel"]);

/** Makes the SLSA provenance of a build. */
export function provenanceOf(build: BuildDescription): Statement {
  return createStatement(subjectsOf(build), provenancePredicateType, predicateOf(build));
}

/**
 * Returns the subjects of a statement: every platform's manifest and, if there are several, the
 * index over them.
 */
export function subjectsOf({
  plan,
  repository,
  digests,
}: Pick<BuildDescription, "plan" | "repository" | "digests">): readonly StatementSubject[] {
  const name = `${repository}:${plan.version}`;
  const platforms = Object.entries(digests.platforms);
  const [only] = platforms;
  if (only !== undefined && platforms.length === 1) return [{ name, digest: only[1] }];
  const manifests = platforms.map(([platform, digest]) => ({ name: `${name}#${platform}`, digest }));
  return digests.index === null ? manifests : [{ name, digest: digests.index }, ...manifests];
}

function predicateOf(build: BuildDescription): Provenance {
  const { plan, inputKey, builder, finished, seconds } = build;
  const facts = Object.entries(builder.facts).flatMap(([name, value]) =>
    value ? [[name, value] as const] : [],
  );
  const { name: image, version, recipe, target, platforms, buildArgs } = plan;
  const started = seconds === null ? null : new Date(Date.parse(finished) - seconds * 1000);
  return {
    buildDefinition: {
      buildType,
      externalParameters: { image, version, recipe, target, platforms, buildArgs },
      internalParameters: {
        inputKey,
        ...(build.fetched ? { fetchRecord: build.fetched.record } : {}),
        ...Object.fromEntries(facts.filter(([name]) => !versionFacts.has(name))),
      },
      resolvedDependencies: resolvedDependenciesOf(build),
    },
    runDetails: {
      builder: {
        id: `urn:stagex-pulumi:builder:${builder.id}`,
        version: Object.fromEntries(facts.filter(([name]) => versionFacts.has(name))),
      },
      metadata: {
        invocationId: `${inputKey}/${builder.id}`,
        ...(started === null ? {} : { startedOn: started.toISOString() }),
        finishedOn: finished,
      },
    },
  };
}

/**
 * Lists the commit, the recipe and its files, the sources, the fetched files and the images, each
 * by digest.
 */
function resolvedDependenciesOf({
  plan,
  dependencies,
  tree,
  fetched,
}: BuildDescription): ResourceDescriptor[] {
  const files = plan.context.map(({ path, sha256 }) => ({
    name: `${plan.folder}/${path}`,
    digest: { sha256 },
  }));
  return [
    ...(tree === null ? [] : [{ name: tree.path || "tree", digest: { gitCommit: tree.commit } }]),
    { name: plan.recipe, digest: { sha256: plan.containerfile } },
    ...files.filter(({ name }) => name !== plan.recipe),
    ...plan.sources.map(({ file, sha256, mirrors: [uri] }) => ({
      name: `fetch/${plan.stage}/${plan.origin}/${file}`,
      ...(uri === undefined ? {} : { uri }),
      digest: { sha256 },
    })),
    ...(fetched?.files ?? []).map(({ url, sha256 }) => ({ name: url, uri: url, digest: { sha256 } })),
    ...Object.entries(dependencies).map(([name, digest]) => ({
      name: `stagex/${name}`,
      uri: `pkg:oci/${name}@${encodeURIComponent(digest)}`,
      digest: { sha256: hexOf(digest) },
    })),
  ];
}
