/** A pattern in which `*` is any text and `?` any one character, as an expression for the whole of a name. */
export function glob(pattern: string): RegExp {
  const source = pattern.replace(/[.*+?^${}()|[\]\\]/g, (sign) => {
    if (sign === "*") return ".*";
    return sign === "?" ? "." : `\\${sign}`;
  });
  return new RegExp(`^${source}$`, "su");
}
