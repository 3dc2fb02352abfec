/**
 * Characters that a terminal obeys or hides: C0 and C1 controls (line breaks included),
 * bidirectional overrides, separators of lines and paragraphs, and invisible ones (Unicode, general
 * categories Cc, Cf, Zl and Zp).
 */
export const invisible = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/**
 * Text without any of these, as nearly all is. This test takes a tenth of the time of the other
 * expression.
 */
const plainLine = /^[ -~]*$/;
const plain = /^[\n -~]*$/;

/** Returns whether a text has only visible ASCII characters, blanks and line ends. */
export function isPlain(text: string): boolean {
  return plain.test(text);
}

/**
 * Returns the text on one line, with the JavaScript escape of each character that a terminal obeys
 * or hides.
 */
export function escapeControlCharacters(text: string): string {
  return plainLine.test(text) ? text : text.replace(invisible, escaped);
}

function escaped(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  const hex = code.toString(16);
  return code > 0xffff ? `\\u{${hex}}` : `\\u${hex.padStart(4, "0")}`;
}
