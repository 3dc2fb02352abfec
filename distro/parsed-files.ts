import { type Containerfile, parseContainerfile } from "./containerfile.ts";
import { type PackageToml, parsePackageToml } from "./package-toml.ts";

/** Files that have been parsed, so that two trees which have most files in common parse those once. */
export class ParsedFiles {
  readonly #tomls = new Map<string, { readonly text: string; readonly parsed: PackageToml }>();
  readonly #recipes = new Map<
    string,
    { readonly text: string; readonly args: string; readonly parsed: Containerfile }
  >();

  /** Returns what {@link parsePackageToml} does, and throws what it throws. */
  packageToml(file: string, text: string): PackageToml {
    const known = this.#tomls.get(file);
    if (known?.text === text) return known.parsed;
    const parsed = parsePackageToml(file, text);
    this.#tomls.set(file, { text, parsed });
    return parsed;
  }

  /** Returns what {@link parseContainerfile} does, and throws what it throws. */
  containerfile(file: string, text: string, buildArgs: Readonly<Record<string, string>>): Containerfile {
    const args = JSON.stringify(buildArgs);
    const known = this.#recipes.get(file);
    if (known?.text === text && known.args === args) return known.parsed;
    const parsed = parseContainerfile(file, text, buildArgs);
    this.#recipes.set(file, { text, args, parsed });
    return parsed;
  }
}
