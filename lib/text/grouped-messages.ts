import { shortenList } from "./shortened-list.ts";

/** How many names stand before what is said of them, and of how many different things the lines tell. */
const [namesShown, linesShown] = [10, 100];

/**
 * Tells in lines what is said of each of many names. Names of which the same is said share a line, `a, b and 3 more: words`, in the order of
 * their first; of more than a hundred such lines the others are counted.
 */
export function groupMessages(said: Iterable<readonly [name: string, words: string]>): string[] {
  const alike = [...Map.groupBy(said, ([, words]) => words)];
  const left = alike.slice(linesShown).reduce((sum, [, { length }]) => sum + length, 0);
  const lines = alike.slice(0, linesShown).map(
    ([words, named]) =>
      `${shortenList(
        named.map(([name]) => name),
        namesShown,
      )}: ${words}`,
  );
  return left === 0 ? lines : [...lines, `and ${left} more, each with words of its own`];
}
