import { expandWord, type Variable } from "./word-expansion.ts";

/** Characters of an ARG's value. Longer ones are refused: each may name the one before twice. */
export const maxArgLength = 4096;

/** Build arguments that every build gets, so the recipe's own values for them have no effect. */
const builtInArg = /^(?:SOURCE_DATE_EPOCH|BUILDKIT_.*)$/;

/** Arguments that BuildKit sets for each FROM (frontend/dockerfile/dockerfile2llb, defaultArgs). */
const automaticArg = /^(?:BUILD|TARGET)(?:PLATFORM|OS|OSVERSION|ARCH|VARIANT)$|^TARGETSTAGE$/;

/** An ARG's word that all parsers read alike: without escapes, with one pair of quotes at most. */
const plainArg = /^[A-Za-z_]\w*(?:=(?:[^\s"'\\`]*|"[^"'\\`]*"|'[^"'\\`]*'))?$/;

/** The ARGs before the first FROM, the only ones that a FROM can use. */
export class GlobalArgs {
  readonly #buildArgs: Readonly<Record<string, string>>;
  readonly #escape: string;
  /** By name; undefined where only the build knows the value. */
  readonly #values = new Map<string, string | undefined>();
  #hasAmbiguousArgs = false;

  /**
   * @param buildArgs arguments given to the build, which take precedence over the recipe's own
   *   values
   * @param escapeCharacter the Containerfile's escape character
   */
  constructor(buildArgs: Readonly<Record<string, string>>, escapeCharacter: string) {
    this.#buildArgs = buildArgs;
    this.#escape = escapeCharacter;
  }

  /**
   * Declares the arguments of one line. Where a word is not plain, BuildKit may cut the line
   * otherwise, and no variable is known any more.
   * @returns the lengths of values that are too long
   */
  declare(words: readonly string[]): number[] {
    if (!words.every((word) => plainArg.test(word))) this.#hasAmbiguousArgs = true;
    return words.flatMap((word) => {
      const equals = word.indexOf("=");
      const name = argName(word);
      if (builtInArg.test(name)) {
        this.#values.set(name, undefined);
        return [];
      }
      const value = this.#buildArg(name) ?? (equals === -1 ? undefined : this.expand(word.slice(equals + 1)));
      if (value !== undefined && value.length > maxArgLength) {
        this.#values.set(name, undefined);
        return [value.length];
      }
      if (equals !== -1 || value !== undefined) this.#values.set(name, value);
      return [];
    });
  }

  /** Expands the variables of a word; undefined where one is not known before the build. */
  expand(word: string): string | undefined {
    return expandWord(word, (name) => this.#variable(name), this.#escape, maxArgLength);
  }

  #buildArg(name: string): string | undefined {
    return Object.hasOwn(this.#buildArgs, name) ? this.#buildArgs[name] : undefined;
  }

  #variable(name: string): Variable {
    if (this.#hasAmbiguousArgs) return "unknown";
    const value = this.#values.get(name);
    if (value !== undefined) return { value };
    return this.#values.has(name) || automaticArg.test(name) ? "unknown" : "unset";
  }
}

/** Returns the name of an ARG's word: `NAME` of `NAME=value`. */
export function argName(word: string): string {
  const equals = word.indexOf("=");
  return equals === -1 ? word : word.slice(0, equals);
}
