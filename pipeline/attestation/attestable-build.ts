import type { BuildPlan } from "../../distro/build-plan.ts";
import { inputsOfPlan } from "../../distro/plan/image-inputs.ts";
import { inputKeyOfPlan } from "../../distro/plan/predict-digests.ts";
import { firstPublishedDigest } from "../../distro/published/published-digests.ts";
import { GitError } from "../../lib/git/git.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Context } from "../context/context.ts";
import { withInputKey } from "../package/inputs.ts";
import { lookUpDigests } from "../package/ledger-lookup.ts";
import { findPublishedDigests, reasonBelowQuorum } from "../package/trusted-digests.ts";
import { type BuiltImage, NotBuiltHereError, requireBuiltHere } from "./built-here.ts";

/** An image that attested images must not be built from, and why. */
type Doubt = { readonly image: string; readonly doubt: string };

/** The digest of a dependency that attested images may be built from, or why there is none. */
type Dependency = { readonly reference: Digest } | Doubt;

/**
 * Requires that an image may be attested: builders of this state folder built it. They also built
 * each image that it is built from, down to the first, or enough maintainers have signed that. A
 * digest from a ledger or a registry, or one that a tree publishes and too few have signed, does
 * not suffice.
 * @returns the records of the builds by manifest
 * @throws NotBuiltHereError that names the dependency and the command that builds it
 */
export async function requireAttestableBuild(
  context: Context,
  built: BuiltImage,
): ReturnType<typeof requireBuiltHere> {
  const builds = await requireBuiltHere(context, built);
  await requireAttestableInputs(context, built);
  return builds;
}

/**
 * Requires that an image was built from the tree's present inputs and from attestable dependencies.
 * The input key covers the digests of all dependencies, so it is enough that the attestable ones
 * give the same key.
 */
async function requireAttestableInputs(context: Context, { image, inputKey }: BuiltImage): Promise<void> {
  const { images } = await context.tree();
  const plan = images.get(image);
  if (!plan) throw new NotBuiltHereError(`${image} is not attested: the tree does not have it any more`);
  const found = await findDependencies(context, plan, images, new Map());
  if ("doubt" in found) {
    const isPulled = await context.mayBeSubstituted(found.image);
    throw new NotBuiltHereError(
      `${image} is not attested: it is built from ${found.image}, and ${found.doubt}. ` +
        `Build that here: ${isPulled ? "leave it out of stagex:substitute, and run " : ""}` +
        `pulumi up --replace '**:Package::${found.image}'`,
    );
  }
  if (inputKeyOfPlan(plan, found.references) === inputKey) return;
  throw new NotBuiltHereError(
    `${image} is not attested: it was built from other inputs than the tree has now, or from images that came out otherwise here. Run pulumi up again`,
  );
}

type Dependencies = { readonly references: Readonly<Record<string, Digest>> };

async function findDependencies(
  context: Context,
  plan: BuildPlan,
  images: ReadonlyMap<string, BuildPlan>,
  asked: Map<string, Promise<Dependency>>,
): Promise<Dependencies | Doubt> {
  const references: Record<string, Digest> = {};
  for (const name of plan.dependencies) {
    const asking = asked.get(name) ?? findDependency(context, name, images, asked);
    asked.set(name, asking);
    const found = await asking;
    if ("doubt" in found) return found;
    references[name] = found.reference;
  }
  return { references };
}

/**
 * Finds the digest of one dependency. It stays valid in this process: own records are only added
 * to, and the rule is the same for all.
 */
async function findDependency(
  context: Context,
  name: string,
  images: ReadonlyMap<string, BuildPlan>,
  asked: Map<string, Promise<Dependency>>,
): Promise<Dependency> {
  const reference = context.attestableDigests.get(name);
  if (reference) return { reference };
  const plan = images.get(name);
  if (!plan) return { image: name, doubt: "the tree does not have that" };
  const below = await findDependencies(context, plan, images, asked);
  const found = "doubt" in below ? below : await findOwnBuild(context, plan, below.references);
  const attestable = "doubt" in found ? await findSignedRelease(context, plan, found) : found;
  if ("reference" in attestable) context.attestableDigests.set(name, attestable.reference);
  return attestable;
}

async function findOwnBuild(
  context: Context,
  plan: BuildPlan,
  dependencies: Readonly<Record<string, Digest>>,
): Promise<Dependency> {
  const key = inputKeyOfPlan(plan, dependencies);
  const own = await lookUpDigests(context.built, key, plan.platforms);
  if (own) return { reference: own.reference };
  const { kind } = await context.built.lookUp(key);
  const doubt =
    kind === "contradiction"
      ? "that came out differently here, built twice from the same inputs"
      : "that is on another's word: this machine has not built it from the inputs that the tree has";
  return { image: plan.name, doubt };
}

/**
 * Finds the digest that the tree publishes of an unchanged recipe, if enough people have signed it.
 * Its own dependencies are then not asked for.
 */
async function findSignedRelease(context: Context, plan: BuildPlan, own: Doubt): Promise<Dependency> {
  const release = await context.releaseTree().catch((error: unknown) => {
    // A tree without a commit in git publishes nothing.
    if (error instanceof GitError) return undefined;
    throw error;
  });
  if (!release) return own;
  const dependencies = Object.fromEntries(
    plan.dependencies.flatMap((name) => {
      const published = firstPublishedDigest(release, name);
      return published ? [[name, published]] : [];
    }),
  );
  if (Object.keys(dependencies).length < plan.dependencies.length) return own;
  const published = await findPublishedDigests(
    context,
    withInputKey({ ...inputsOfPlan(plan), dependencies }),
  );
  if (!published) return own;
  const doubt = await reasonBelowQuorum(context, plan.name, plan.version, published.digests);
  if (doubt === undefined) return { reference: published.reference };
  return own.image === plan.name ? { ...own, doubt: `${own.doubt} (${doubt})` } : own;
}
