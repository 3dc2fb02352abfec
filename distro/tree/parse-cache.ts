import type { Containerfile } from "../recipe/containerfile.ts";
import type { PackageToml } from "../recipe/package-toml.ts";
import type { TreeProblem } from "../tree-error.ts";

/** A parsed package, and the mistakes in fields that builds do not read. */
type ParsedPackage = { readonly toml: PackageToml; readonly warnings: readonly TreeProblem[] };

/** A cache of parsed files: two trees with most files in common parse those once. */
export class ParseCache {
  readonly packages = new ParsedTexts<ParsedPackage>();
  readonly recipes = new ParsedTexts<Containerfile>();
}

/** The last text of each file, and its parsed form. */
class ParsedTexts<T> {
  readonly #known = new Map<string, { readonly text: string; readonly parsed: T }>();

  /**
   * Returns the earlier result of `parse` for this file and text; otherwise calls it.
   * @param text everything that the result depends on
   * @throws whatever `parse` throws, each time
   */
  of(file: string, text: string, parse: () => T): T {
    const known = this.#known.get(file);
    if (known?.text === text) return known.parsed;
    const parsed = parse();
    this.#known.set(file, { text, parsed });
    return parsed;
  }
}
