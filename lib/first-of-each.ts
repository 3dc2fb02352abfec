/** How many of one kind are shown. */
const shown = 10;

/**
 * Shortens a list of what is wrong: of each kind the first ten, in the list's order, and behind the last of them how many more there are.
 * @param kindOf what counts as the same
 * @param lineOf one item in words
 */
export function firstOfEach<T, Line extends string>(
  items: readonly T[],
  kindOf: (item: T) => string,
  lineOf: (item: T) => Line,
  moreOf: (count: number, kind: string) => Line,
): Line[] {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(kindOf(item), (counts.get(kindOf(item)) ?? 0) + 1);
  const seen = new Map<string, number>();
  return items.flatMap((item) => {
    const kind = kindOf(item);
    const number = (seen.get(kind) ?? 0) + 1;
    seen.set(kind, number);
    if (number > shown) return [];
    const left = (counts.get(kind) ?? 0) - shown;
    return number === shown && left > 0 ? [lineOf(item), moreOf(left, kind)] : [lineOf(item)];
  });
}
