/**
 * Joins the first of some items, and counts the others: `a, b and 3 more`.
 * @param most how many are named
 */
export function shortenList(items: readonly string[], most: number): string {
  const left = items.length - most;
  return `${items.slice(0, most).join(", ")}${left > 0 ? ` and ${left} more` : ""}`;
}
