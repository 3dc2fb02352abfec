import type { Digest } from "../../oci/digest.ts";
import type { BuildPlan } from "../build-plan.ts";
import { inputKeyOfPlan } from "../plan/predict-digests.ts";
import { type DigestSet, digestSetOfPlatform } from "../tree/digests-file.ts";
import { firstPublishedDigest, publishedDigestIn, type TreeWithDigests } from "./published-digests.ts";
import type { PublishedTree } from "./published-tree.ts";

/**
 * The status of an image's inputs, compared with those of its published digest: equal or changed.
 * It is `open` while the digest of a dependency is unknown.
 */
export type InputsStatus = "published" | "changed" | "open";

/** The facts that decide an image's status. */
export type InputsStatusQuery = {
  readonly image: string;
  /** Checks that the published image, built from the same images, would have the same input key. */
  readonly hasSameInputsAs: (published: BuildPlan) => boolean;
  /** The digests of its dependencies, by name; undefined where not known yet. */
  readonly dependencies: Readonly<Record<string, Digest | undefined>>;
  /**
   * Returns the first manifest of an index; undefined where the index is not available here. For an
   * image for several platforms, StageX publishes that manifest.
   */
  readonly firstManifest: (index: Digest) => Promise<Digest | undefined>;
};

/** Compares the images of a tree with the inputs of their published digests. */
export class PublishedInputs {
  readonly #current: TreeWithDigests;
  readonly #published: PublishedTree;
  #untouched: ReadonlySet<string> | undefined;
  /** By image, the reason why the inputs at another commit that wrote its line cannot be read. */
  readonly #earlierDoubts = new Map<string, string>();

  constructor(current: TreeWithDigests, published: PublishedTree) {
    this.#current = current;
    this.#published = published;
  }

  /** Returns why an image's status is unknown, and the fix; undefined where it is known. */
  doubt(image: string): string | undefined {
    const published = this.#published;
    if ("doubt" in published) return published.doubt;
    const commit = published.commit.slice(0, 12);
    const set = this.#changedSet(image, published.tree);
    if (set !== undefined) {
      const file = `digests/${set === "" ? "" : `${set}/`}${image.split("-", 1)[0]}.txt`;
      return `its line in ${file} is not that of commit ${commit}: commit ${file} together with the change that it is of`;
    }
    if (!published.tree.images.has(image))
      return `commit ${commit}, the last one that changed digests/, has no such image`;
    return this.#earlierDoubts.get(image);
  }

  /** Finds the first set of digests in which the image's line differs from the published one. */
  #changedSet(image: string, published: TreeWithDigests): DigestSet | undefined {
    const platforms = this.#current.images.get(image)?.platforms ?? [];
    const sets = ["", ...platforms.map(digestSetOfPlatform), ...(platforms.length > 1 ? ["index"] : [])];
    return sets.find(
      (set) => publishedDigestIn(this.#current, image, set) !== publishedDigestIn(published, image, set),
    );
  }

  /** The commit that published the digests; undefined where it is unknown. */
  get commit(): string | undefined {
    return "commit" in this.#published ? this.#published.commit : undefined;
  }

  /**
   * Returns an image's status where there is no {@link doubt}. Its inputs are `published` if they
   * equal those of the last commit that changed `digests/`, or of a commit that wrote its line.
   * Where the latter cannot be read, the status is `published` as well, and {@link doubt} then
   * gives the reason.
   */
  async statusOf({
    image,
    hasSameInputsAs: isOwnSame,
    dependencies,
    firstManifest,
  }: InputsStatusQuery): Promise<InputsStatus> {
    const plan = this.#planOf(image);
    if (plan === undefined) return "changed";
    if (!isOwnSame(plan) && !(await this.#isOfEarlier(image, isOwnSame))) return "changed";
    const names = Object.keys(dependencies);
    const statuses = await Promise.all(
      names.map((name) => this.#dependency(name, dependencies[name], firstManifest)),
    );
    return statuses.find((one) => one === "changed") ?? statuses.find((one) => one === "open") ?? "published";
  }

  /**
   * Returns the status of all images. An image with a {@link doubt} is `published`. For a
   * dependency that is `published`, the digest in `known` has no effect.
   * @param known the digests of the other dependencies, by name
   */
  async statuses(
    known: ReadonlyMap<string, Digest>,
    firstManifest: InputsStatusQuery["firstManifest"],
  ): Promise<Map<string, InputsStatus>> {
    const statuses = new Map<string, InputsStatus>();
    for (const [image, plan] of this.#current.images) {
      if (this.doubt(image) !== undefined) {
        statuses.set(image, "published");
        continue;
      }
      const open = plan.dependencies.filter((name) => statuses.get(name) !== "published");
      const dependencies = Object.fromEntries(open.map((name) => [name, known.get(name)]));
      const isOwnSame = (published: BuildPlan) => hasSameOwnInputs(published, plan);
      statuses.set(
        image,
        await this.statusOf({ image, hasSameInputsAs: isOwnSame, dependencies, firstManifest }),
      );
    }
    return statuses;
  }

  async #isOfEarlier(image: string, isOwnSame: InputsStatusQuery["hasSameInputsAs"]): Promise<boolean> {
    const earlier = "tree" in this.#published ? await this.#published.earlier(image) : [];
    if (!("doubt" in earlier)) return earlier.some(isOwnSame);
    this.#earlierDoubts.set(image, earlier.doubt);
    return true;
  }

  async #dependency(
    name: string,
    reference: Digest | undefined,
    firstManifest: InputsStatusQuery["firstManifest"],
  ): Promise<InputsStatus> {
    const digest = "tree" in this.#published ? firstPublishedDigest(this.#published.tree, name) : undefined;
    // Where the dependency is not published, or its digest is not known yet, only its own inputs
    // decide.
    if (reference === undefined) return this.#isUntouched(name) ? "published" : "open";
    if (digest === undefined) return this.#isUntouched(name) ? "published" : "changed";
    if (reference === digest) return "published";
    if ((this.#planOf(name)?.platforms.length ?? 1) === 1) return "changed";
    const first = await firstManifest(reference);
    if (first === undefined) return "open";
    return first === digest ? "published" : "changed";
  }

  /** Checks that an image and everything that it is built from have their published inputs. */
  #isUntouched(name: string): boolean {
    this.#untouched ??= this.#untouchedImages();
    return this.#untouched.has(name);
  }

  /** Takes one pass, as each image follows those that it is built from. */
  #untouchedImages(): ReadonlySet<string> {
    const untouched = new Set<string>();
    for (const [name, plan] of this.#current.images) {
      const published = this.#planOf(name);
      if (published === undefined || !hasSameOwnInputs(plan, published)) continue;
      if (plan.dependencies.every((dependency) => untouched.has(dependency))) untouched.add(name);
    }
    return untouched;
  }

  #planOf(image: string): BuildPlan | undefined {
    return "tree" in this.#published ? this.#published.tree.images.get(image) : undefined;
  }
}

/** Checks that two plans have the same input key when built from the same images. */
export function hasSameOwnInputs(left: BuildPlan, right: BuildPlan): boolean {
  // The keys decide. Most equal plans also have equal text, and comparing that takes a fraction of
  // the time.
  return (
    left === right ||
    ownText(left) === ownText(right) ||
    inputKeyOfPlan(left, {}) === inputKeyOfPlan(right, {})
  );
}

/** Formats all fields of a plan that its input key covers, as they stand in the plan. */
function ownText({ name, version, containerfile, target, ...plan }: BuildPlan): string {
  const { context, platforms, buildArgs } = plan;
  const sources = plan.sources.map(({ file, sha256 }) => [file, sha256]);
  return JSON.stringify([name, version, containerfile, target, context, platforms, buildArgs, sources]);
}
