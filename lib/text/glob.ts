/**
 * Compiles a pattern in which `*` is any text and `?` any one character. It is tested against a
 * whole name.
 *
 * A regular expression would try every way to share a name among the stars of `*a*a*b`. Here each
 * part between two stars is matched where it first fits, without backtracking; that finds a match
 * if there is one.
 */
export function compileGlob(pattern: string): (name: string) => boolean {
  if (!pattern.includes("*")) {
    const whole = characters(pattern);
    return (name) => {
      const text = characters(name);
      return text.length === whole.length && fitsAt(whole, text, 0);
    };
  }
  const parts = pattern.split("*").map(characters);
  const [first = [], last = []] = [parts[0], parts.at(-1)];
  const between = parts.slice(1, -1).filter((part) => part.length > 0);
  const least = parts.reduce((sum, part) => sum + part.length, 0);
  return (name) => {
    const text = characters(name);
    const end = text.length - last.length;
    if (text.length < least || !fitsAt(first, text, 0) || !fitsAt(last, text, end)) return false;
    let at = first.length;
    for (const part of between) {
      while (at + part.length <= end && !fitsAt(part, text, at)) at++;
      at += part.length;
      if (at > end) return false;
    }
    return true;
  };
}

/** Splits a text into code points, which `?` counts. */
function characters(text: string): readonly string[] {
  return [...text];
}

function fitsAt(part: readonly string[], text: readonly string[], at: number): boolean {
  return part.every((character, index) => character === "?" || character === text[at + index]);
}
