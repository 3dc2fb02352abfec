/** The number of items of one kind that are shown. */
const limit = 10;

/**
 * Shortens a list of problems to the first ten of each kind, in the list's order, followed by the
 * number of the others.
 * @param kindOf returns an item's kind
 * @param lineOf formats an item
 * @param moreOf formats the number of those that are left out
 */
export function limitPerKind<T, Line extends string>(
  items: readonly T[],
  kindOf: (item: T) => string,
  lineOf: (item: T) => Line,
  moreOf: (count: number, example: T) => Line,
): Line[] {
  const kinds = Map.groupBy(items, kindOf);
  const counts = new Map<string, number>();
  return items.flatMap((item) => {
    const kind = kindOf(item);
    const position = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, position);
    if (position > limit) return [];
    const left = (kinds.get(kind)?.length ?? 0) - limit;
    return position === limit && left > 0 ? [lineOf(item), moreOf(left, item)] : [lineOf(item)];
  });
}
