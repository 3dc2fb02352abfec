/** The knowledge of a variable: its value, that it has none, or that only the build knows it. */
export type Variable = { readonly value: string } | "unset" | "unknown";

/** The depth of variables in each other's defaults. Sensible words nest at most twice. */
const deepest = 20;

/**
 * Expands the variables, quotes and escapes of a word as BuildKit does (frontend/dockerfile/shell,
 * lex.go). Patterns in `${name%pattern}` and `${name#pattern}` are supported where they are plain
 * text.
 * @param most the longest result in characters; expansion ends soon after
 * @returns undefined where only the build knows the result, or the word is malformed
 */
export function expandWord(
  word: string,
  variable: (name: string) => Variable,
  escapeToken: string,
  most: number,
): string | undefined {
  if (!/[$'"]/.test(word) && !word.includes(escapeToken)) return word;
  const expansion = new Expansion(word, variable, escapeToken, most);
  const expanded = expansion.upTo(undefined, 0);
  // A part that was too long may not be in the result. Then the rest was not read.
  const isCutShort = expansion.isTooLong && (expanded?.length ?? 0) <= most;
  return expansion.isWrong || isCutShort ? undefined : expanded;
}

class Expansion {
  isWrong = false;
  isTooLong = false;
  readonly #word: string;
  readonly #variable: (name: string) => Variable;
  readonly #escapeToken: string;
  readonly #most: number;
  #at = 0;

  constructor(word: string, variable: (name: string) => Variable, escapeToken: string, most: number) {
    this.#word = word;
    this.#variable = variable;
    this.#escapeToken = escapeToken;
    this.#most = most;
  }

  /** Reads past a character, or to the end; undefined where only the build knows a part. */
  upTo(stop: "}" | '"' | undefined, depth: number): string | undefined {
    let text: string | undefined = "";
    while (!this.isWrong && !this.isTooLong && this.#at < this.#word.length) {
      const character = this.#word[this.#at++] ?? "";
      if (character === stop) return text;
      const part = this.#part(character, stop === '"', depth);
      text = text === undefined || part === undefined ? undefined : text + part;
      if (text !== undefined && text.length > this.#most) this.isTooLong = true;
    }
    if (stop !== undefined && !this.isTooLong) this.isWrong = true;
    return text;
  }

  #part(character: string, isQuoted: boolean, depth: number): string | undefined {
    if (character === "$") return this.#dollar(depth);
    if (character === "'" && !isQuoted) return this.#single();
    if (character === '"') return this.upTo('"', depth);
    if (character !== this.#escapeToken) return character;
    const next = this.#word[this.#at] ?? "";
    if (isQuoted && next !== "" && !['"', "$", this.#escapeToken].includes(next)) return character;
    this.#at += next.length;
    return next;
  }

  #single(): string {
    const end = this.#word.indexOf("'", this.#at);
    if (end < 0) this.isWrong = true;
    const text = this.#word.slice(this.#at, end < 0 ? undefined : end);
    this.#at = end < 0 ? this.#word.length : end + 1;
    return text;
  }

  #dollar(depth: number): string | undefined {
    if (this.#word[this.#at] !== "{") {
      const name = this.#name();
      if (name === "" && this.#isSpecialName()) this.isWrong = true;
      return name === "" ? "$" : knownValue(this.#variable(name));
    }
    this.#at++;
    const name = this.#name();
    if (name === "") this.isWrong = true;
    const known = this.#variable(name);
    const operator = /:?[-+?]|[%#]|\}/y;
    operator.lastIndex = this.#at;
    const [found = ""] = operator.exec(this.#word) ?? [];
    this.#at += found.length;
    if (found === "}") return knownValue(known);
    if (found === "" || depth >= deepest) this.isWrong = true;
    const other = this.upTo("}", depth + 1);
    return this.isWrong ? undefined : substituted(known, found, other);
  }

  #name(): string {
    const name = /[A-Za-z_]\w*/y;
    name.lastIndex = this.#at;
    const [found = ""] = name.exec(this.#word) ?? [];
    this.#at += found.length;
    if (found !== "" && this.#isBeyondAscii()) this.isWrong = true;
    return found;
  }

  /** Checks for BuildKit's special names and digits, never build arguments, and other scripts. */
  #isSpecialName(): boolean {
    return this.#isBeyondAscii() || /[@*#?$!\d-]/.test(this.#word[this.#at] ?? "");
  }

  #isBeyondAscii(): boolean {
    return (this.#word.charCodeAt(this.#at) || 0) > 0x7f;
  }
}

function knownValue(variable: Variable): string | undefined {
  return typeof variable === "string" ? undefined : variable.value;
}

/** Evaluates `${name-other}` and the like. With a colon, an empty value counts as unset. */
function substituted(variable: Variable, operator: string, other: string | undefined): string | undefined {
  if (variable === "unknown") return undefined;
  const value = knownValue(variable);
  const isSet = value !== undefined && !(operator.startsWith(":") && value === "");
  if (operator.endsWith("-")) return isSet ? value : other;
  if (operator.endsWith("+")) return isSet ? other : "";
  if (operator.endsWith("?")) return isSet ? value : undefined;
  if (value === undefined || other === undefined || /[*?[\\%#]/.test(other)) return undefined;
  if (operator === "%") return value.endsWith(other) ? value.slice(0, value.length - other.length) : value;
  return value.startsWith(other) ? value.slice(other.length) : value;
}
