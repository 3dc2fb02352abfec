/**
 * Joins the first items of a list, and counts the others: `a, b and 3 more`.
 * @param most the number of items that are named
 */
export function shortenList(items: readonly string[], most: number): string {
  const left = items.length - most;
  return `${items.slice(0, most).join(", ")}${left > 0 ? ` and ${left} more` : ""}`;
}
