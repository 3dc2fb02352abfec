import { compileGlob } from "../lib/text/glob.ts";
import { boundedNearestName } from "../lib/text/nearest-name.ts";
import { printable } from "../lib/text/printable.ts";
import { shortenList } from "../lib/text/shortened-list.ts";

import { dependencyClosure, dependentsOf, type GraphNode, withDependents } from "./graph.ts";

/** A name that means no image, or several; the message names those that may have been meant. */
export class ImageNameError extends Error {
  override readonly name = "ImageNameError";
}

/** What a list of patterns chooses. */
export type ImageSelection = {
  /** The images chosen, in the order of the patterns and then of the map, each once. */
  readonly names: readonly string[];
  /** Those of them that a pattern names, rather than a glob. */
  readonly named: ReadonlySet<string>;
  /** The images left out by `!`. */
  readonly excluded: ReadonlySet<string>;
};

/**
 * Finds the images that a list of patterns means: names, globs (`core-*`, `user-?pp`), and StageX's short names without the stage (`llvm`
 * for `core-llvm`), where one image alone has it. `!` before any of these leaves images out, wherever it stands in the list; a list of such
 * alone begins with all images.
 * @throws ImageNameError with every pattern that means no image, or that may mean several
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
 * The names of the images that a list of patterns means, as {@link selectImageNames} has them.
 * @throws ImageNameError
 */
export function resolveImageNames(
  images: ReadonlyMap<string, unknown>,
  patterns: readonly string[],
): string[] {
  return [...selectImageNames(images, patterns).names];
}

/**
 * The one image that a name or a short name means.
 * @throws ImageNameError
 */
export function resolveImageName(images: ReadonlyMap<string, unknown>, name: string): string {
  const names = new ImageNames(images);
  const [found] = names.named(name);
  names.throwProblems();
  return found ?? name;
}

/**
 * The chosen images and all that they are built from, in the order of the map (a tree's is that of dependency). An image that is left out
 * (`!core-llvm`) is not built, so what is built from it is left out too.
 * @param patterns as {@link selectImageNames} has them; all images where there are none
 * @throws ImageNameError if a pattern means no image, or one that is built from what is left out
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

/** How many images a message names that a short name may mean. */
const mostCandidates = 10;

/** The names of some images, by their whole and by their short names; collects what it can't find. */
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
