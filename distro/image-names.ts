import { compileGlob } from "../lib/text/glob.ts";
import { boundedNearestName } from "../lib/text/nearest-name.ts";
import { printable } from "../lib/text/printable.ts";
import { shortenList } from "../lib/text/shortened-list.ts";

import { dependencyClosure, dependentsOf, type GraphNode, withDependents } from "./graph.ts";

/** A name that matches no image, or several; the message names the likely ones. */
export class ImageNameError extends Error {
  override readonly name = "ImageNameError";
}

/** The images that a list of patterns selects. */
export type ImageSelection = {
  /** The selected images, in the order of the patterns and then of the map, each once. */
  readonly names: readonly string[];
  /** The images that a pattern selects by name, not by a glob. */
  readonly named: ReadonlySet<string>;
  /** The images that `!` excludes. */
  readonly excluded: ReadonlySet<string>;
};

/**
 * Finds the images that a list of patterns selects. A pattern is a name, a glob (`core-*`,
 * `user-?pp`), or a short name without the stage (`llvm` for `core-llvm`), where only one image has
 * it. `!` before a pattern excludes images, anywhere in the list. A list of exclusions alone starts
 * from all images.
 * @throws ImageNameError with every pattern that matches no image, or is ambiguous
 */
export function selectImageNames(
  images: ReadonlyMap<string, unknown>,
  patterns: readonly string[],
): ImageSelection {
  const names = new ImageNames(images);
  const named = new Set<string>();
  const chosen = new Set<string>();
  const leftOut = new Set<string>();
  for (const pattern of patterns) {
    const isLeftOut = pattern.startsWith("!");
    const { fitting, isName } = names.fitting(isLeftOut ? pattern.slice(1) : pattern);
    for (const name of fitting) (isLeftOut ? leftOut : chosen).add(name);
    if (isName && !isLeftOut) for (const name of fitting) named.add(name);
  }
  names.throwProblems();
  const isAllBut = patterns.length > 0 && patterns.every((pattern) => pattern.startsWith("!"));
  const all = isAllBut ? [...images.keys()] : [...chosen];
  return { names: all.filter((name) => !leftOut.has(name)), named, excluded: leftOut };
}

/**
 * Returns the names of the images that a list of patterns selects, as {@link selectImageNames}
 * does.
 * @throws ImageNameError
 */
export function resolveImageNames(
  images: ReadonlyMap<string, unknown>,
  patterns: readonly string[],
): string[] {
  return [...selectImageNames(images, patterns).names];
}

/**
 * Returns the one image that a name or a short name means.
 * @throws ImageNameError
 */
export function resolveImageName(images: ReadonlyMap<string, unknown>, name: string): string {
  const names = new ImageNames(images);
  const [found] = names.named(name);
  names.throwProblems();
  return found ?? name;
}

/**
 * Selects the images of the patterns and all that they are built from, in the order of the map. For
 * a tree, that is dependency order. An excluded image (`!core-llvm`) is not built, so its
 * dependents are excluded too.
 * @param patterns as for {@link selectImageNames}; all images where undefined
 * @throws ImageNameError if a pattern matches no image, or names a dependent of an excluded image
 */
export function selectImages<T extends GraphNode>(
  images: ReadonlyMap<string, T>,
  patterns?: readonly string[],
): T[] {
  if (patterns === undefined) return [...images.values()];
  const { names, named, excluded: leftOut } = selectImageNames(images, patterns);
  const unbuilt = leftOut.size === 0 ? leftOut : withDependents(dependentsOf(images), leftOut);
  const impossible = [...named].filter((name) => unbuilt.has(name) && !leftOut.has(name));
  if (impossible.length > 0)
    throw new ImageNameError(
      printable`left out, and needed to build ${impossible.join(", ")}: ${[...leftOut].join(", ")}`,
    );
  const closure = dependencyClosure(
    images,
    names.filter((name) => !unbuilt.has(name)),
  );
  return [...images].flatMap(([name, image]) => (closure.has(name) ? [image] : []));
}

/** The most candidates of an ambiguous short name that a message names. */
const mostCandidates = 10;

/** The names of images, whole and short. Collects the names that it cannot find. */
class ImageNames {
  readonly #names: readonly string[];
  readonly #images: ReadonlyMap<string, unknown>;
  readonly #short: ReadonlyMap<string, readonly string[]>;
  readonly #problems: string[] = [];
  readonly #nearest: (name: string) => string | undefined;
  readonly #nearestShort: (name: string) => string | undefined;

  constructor(images: ReadonlyMap<string, unknown>) {
    this.#images = images;
    this.#names = [...images.keys()];
    this.#short = Map.groupBy(this.#names, (name) => name.slice(name.indexOf("-") + 1));
    this.#nearest = boundedNearestName(() => this.#names);
    this.#nearestShort = boundedNearestName(() => this.#short.keys());
  }

  fitting(pattern: string): { readonly fitting: readonly string[]; readonly isName: boolean } {
    if (this.#images.has(pattern) || !/[*?]/.test(pattern))
      return { fitting: this.named(pattern), isName: true };
    const fitting = this.#names.filter(compileGlob(pattern));
    if (fitting.length === 0) this.#problems.push(printable`no image ${JSON.stringify(pattern)}`);
    return { fitting, isName: false };
  }

  named(name: string): readonly string[] {
    if (this.#images.has(name)) return [name];
    const fitting = this.#short.get(name) ?? [];
    if (fitting.length === 0) this.#problems.push(this.#unknownText(name));
    if (fitting.length > 1) this.#problems.push(ambiguousText(name, fitting));
    return fitting.length === 1 ? fitting : [];
  }

  throwProblems(): void {
    if (this.#problems.length > 0) throw new ImageNameError(this.#problems.join("\n"));
  }

  #unknownText(name: string): string {
    const short = this.#nearestShort(name);
    const near = [this.#nearest(name) ?? [], short === undefined ? [] : (this.#short.get(short) ?? [])];
    const meant = [...new Set(near.flat())].slice(0, 3);
    return printable`no image ${JSON.stringify(name)}${meant.length === 0 ? "" : `; the nearest is ${meant.join(" or ")}`}`;
  }
}

function ambiguousText(name: string, fitting: readonly string[]): string {
  const shown = shortenList(fitting, mostCandidates);
  return printable`${JSON.stringify(name)} may mean ${shown}: give the whole name`;
}
