/** How many of one kind are shown. */
const shown = 10;

/**
 * Shortens a list of what is wrong: of each kind the first ten, in the list's order, and behind the last of them how many more there are.
 * @param kindOf names what counts as the same
 * @param lineOf puts one item in words
 * @param moreOf puts those in words that are left out
 */
export function limitPerKind<T, Line extends string>(
  items: readonly T[],
  kindOf: (item: T) => string,
  lineOf: (item: T) => Line,
  moreOf: (count: number, example: T) => Line,
): Line[] {
  const kinds = Map.groupBy(items, kindOf);
  const places = new Map<string, number>();
  return items.flatMap((item) => {
    const kind = kindOf(item);
    const place = (places.get(kind) ?? 0) + 1;
    places.set(kind, place);
    if (place > shown) return [];
    const left = (kinds.get(kind)?.length ?? 0) - shown;
    return place === shown && left > 0 ? [lineOf(item), moreOf(left, item)] : [lineOf(item)];
  });
}
