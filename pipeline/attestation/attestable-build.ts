import type { BuildPlan } from "../../distro/build-plan.ts";
import { inputKeyOfPlan } from "../../distro/plan/predict-digests.ts";
import { firstPublishedDigest } from "../../distro/published/published-digests.ts";
import { GitError } from "../../lib/git/git.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Context } from "../context/context.ts";
import { inputsOfPlan } from "../package/inputs-from-build-plan.ts";
import { lookUpDigests } from "../package/ledger-lookup.ts";
import { findPublishedDigests, reasonBelowQuorum } from "../package/predict-outputs.ts";
import { type BuiltImage, NotBuiltHereError, requireBuiltHere } from "./built-here.ts";

/** Why something is not stood upon: which image that is for, and on whose word it is. */
type Doubt = { readonly image: string; readonly doubt: string };

/** A dependency that may be stood upon, or why not. */
type Footing = { readonly reference: Digest } | Doubt;

/**
 * The records of an image's own builds, by its manifests, where the image may be attested: this state folder's own builders built it, and
 * all that it is built from, down to the first image, they built too, or enough maintainers have signed. Nobody attests what stands on
 * another's word: on a digest that somebody's ledger or a registry gave, or that a tree publishes and too few have signed.
 * @throws NotBuiltHere that names the dependency, and the command that builds it
 */
export async function requireAttestableBuild(
  context: Context,
  built: BuiltImage,
): ReturnType<typeof requireBuiltHere> {
  const builds = await requireBuiltHere(context, built);
  await requireFoundation(context, built);
  return builds;
}

/**
 * Requires that an image's inputs are those that the tree has now, with dependencies each of which has a footing. An input key names the
 * digests of all dependencies, so it is enough that those which have one give the same key.
 */
async function requireFoundation(context: Context, { image, inputKey }: BuiltImage): Promise<void> {
  const { images } = await context.tree();
  const plan = images.get(image);
  if (!plan) throw new NotBuiltHereError(`${image} is not attested: the tree does not have it any more`);
  const found = await footings(context, plan, images, new Map());
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

type Footings = { readonly references: Readonly<Record<string, Digest>> };

async function footings(
  context: Context,
  plan: BuildPlan,
  images: ReadonlyMap<string, BuildPlan>,
  asked: Map<string, Promise<Footing>>,
): Promise<Footings | Doubt> {
  const references: Record<string, Digest> = {};
  for (const name of plan.dependencies) {
    const asking = asked.get(name) ?? footing(context, name, images, asked);
    asked.set(name, asking);
    const found = await asking;
    if ("doubt" in found) return found;
    references[name] = found.reference;
  }
  return { references };
}

/** What was found firm stays so for this process: own records are only ever added to, and a run judges all images alike. */
async function footing(
  context: Context,
  name: string,
  images: ReadonlyMap<string, BuildPlan>,
  asked: Map<string, Promise<Footing>>,
): Promise<Footing> {
  const firm = context.attestableDigests.get(name);
  if (firm) return { reference: firm };
  const plan = images.get(name);
  if (!plan) return { image: name, doubt: "the tree does not have that" };
  const below = await footings(context, plan, images, asked);
  const found = "doubt" in below ? below : await ownFooting(context, plan, below.references);
  const agreed = "doubt" in found ? await agreedFooting(context, plan, found) : found;
  if ("reference" in agreed) context.attestableDigests.set(name, agreed.reference);
  return agreed;
}

async function ownFooting(
  context: Context,
  plan: BuildPlan,
  dependencies: Readonly<Record<string, Digest>>,
): Promise<Footing> {
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

/** The digest that the tree publishes of an unchanged recipe, where enough people have signed it: then it needs no footing of its own. */
async function agreedFooting(context: Context, plan: BuildPlan, own: Doubt): Promise<Footing> {
  const release = await context.releaseTree().catch((error: unknown) => {
    // A tree of which git knows no commit publishes nothing.
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
  const published = await findPublishedDigests(context, { ...inputsOfPlan(plan), dependencies });
  if (!published) return own;
  const doubt = await reasonBelowQuorum(context, plan.name, plan.version, published.digests);
  if (doubt === undefined) return { reference: published.reference };
  return own.image === plan.name ? { ...own, doubt: `${own.doubt} (${doubt})` } : own;
}
