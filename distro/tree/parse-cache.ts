import type { Containerfile } from "../recipe/containerfile.ts";
import type { PackageToml } from "../recipe/package-toml.ts";
import type { TreeProblem } from "../tree-error.ts";

/** A package, and what was wrong with what no build reads of it. */
type ParsedPackage = { readonly toml: PackageToml; readonly warnings: readonly TreeProblem[] };

/** Files that have been parsed, so that two trees which have most files in common parse those once. */
export class ParseCache {
  readonly packages = new ParsedTexts<ParsedPackage>();
  readonly recipes = new ParsedTexts<Containerfile>();
}

/** The last text of each file, and what it was parsed to. */
class ParsedTexts<T> {
  readonly #known = new Map<string, { readonly text: string; readonly parsed: T }>();

  /**
   * Returns what `parse` has given for this file and this text before, or gives now.
   * @param text all that the answer depends on
   * @throws what `parse` throws, each time
   */
  of(file: string, text: string, parse: () => T): T {
    const known = this.#known.get(file);
    if (known?.text === text) return known.parsed;
    const parsed = parse();
    this.#known.set(file, { text, parsed });
    return parsed;
  }
}
