import type { BuildPlan } from "../../distro/build-plan.ts";
import { inputKeyOfPlan } from "../../distro/plan/predict-digests.ts";
import { publishedDigestIn } from "../../distro/published/published-digests.ts";
import { GitError } from "../../lib/git/git.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Context } from "../context/context.ts";
import { inputsOfPlan } from "../package/inputs-from-build-plan.ts";
import { lookUpDigests } from "../package/ledger-lookup.ts";
import { findPublishedDigests, reasonBelowQuorum } from "../package/predict-outputs.ts";
import { type BuiltImage, NotBuiltHereError, requireBuiltHere } from "./built-here.ts";

/** An image whose digest is not verified here, and the reason. */
type UnverifiedImage = { readonly image: string; readonly doubt: string };

/** The verified digest of a dependency, or the reason why there is none. */
type Foundation = { readonly reference: Digest } | UnverifiedImage;

/**
 * Requires that an image may be attested, and returns the records of its builds, by manifest. This
 * state folder's own builders must have built it. All its dependencies, down to the first image,
 * must be built here too, or signed by enough maintainers. A digest from another's ledger, from a
 * registry, or from a tree with too few signatures is no basis for an attestation.
 * @throws NotBuiltHereError that names the dependency, and the command that builds it
 */
export async function requireAttestableBuild(
  context: Context,
  built: BuiltImage,
): ReturnType<typeof requireBuiltHere> {
  const builds = await requireBuiltHere(context, built);
  await requireFoundations(context, built);
  return builds;
}

/**
 * Requires that an image's inputs are those that the tree has now, with verified dependencies. An
 * input key covers the digests of all dependencies, so it is enough that the verified digests give
 * the same key.
 */
async function requireFoundations(context: Context, { image, inputKey }: BuiltImage): Promise<void> {
  const { images } = await context.tree();
  const plan = images.get(image);
  if (!plan) throw new NotBuiltHereError(`${image} is not attested: the tree does not have it any more`);
  const found = await findFoundations(context, plan, images, new Map());
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

type Foundations = { readonly references: Readonly<Record<string, Digest>> };

async function findFoundations(
  context: Context,
  plan: BuildPlan,
  images: ReadonlyMap<string, BuildPlan>,
  asked: Map<string, Promise<Foundation>>,
): Promise<Foundations | UnverifiedImage> {
  const references: Record<string, Digest> = {};
  for (const name of plan.dependencies) {
    const asking = asked.get(name) ?? findFoundation(context, name, images, asked);
    asked.set(name, asking);
    const found = await asking;
    if ("doubt" in found) return found;
    references[name] = found.reference;
  }
  return { references };
}

/**
 * A verified digest stays so for this process: own records are only ever added, and a run treats
 * all images alike.
 */
async function findFoundation(
  context: Context,
  name: string,
  images: ReadonlyMap<string, BuildPlan>,
  asked: Map<string, Promise<Foundation>>,
): Promise<Foundation> {
  const firm = context.attestableDigests.get(name);
  if (firm) return { reference: firm };
  const plan = images.get(name);
  if (!plan) return { image: name, doubt: "the tree does not have that" };
  const below = await findFoundations(context, plan, images, asked);
  const found = "doubt" in below ? below : await ownFoundation(context, plan, below.references);
  const agreed = "doubt" in found ? await quorumFoundation(context, plan, found) : found;
  if ("reference" in agreed) context.attestableDigests.set(name, agreed.reference);
  return agreed;
}

async function ownFoundation(
  context: Context,
  plan: BuildPlan,
  dependencies: Readonly<Record<string, Digest>>,
): Promise<Foundation> {
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
 * Returns the digest that the tree publishes for an unchanged recipe, if enough people have signed
 * it: then it need not be built here.
 */
async function quorumFoundation(
  context: Context,
  plan: BuildPlan,
  own: UnverifiedImage,
): Promise<Foundation> {
  const release = await context.releaseTree().catch((error: unknown) => {
    // A tree of which git knows no commit publishes nothing.
    if (error instanceof GitError) return undefined;
    throw error;
  });
  if (!release) return own;
  const dependencies = Object.fromEntries(
    plan.dependencies.flatMap((name) => {
      const published = publishedDigestIn(release, name);
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
