import { shortenList } from "./shortened-list.ts";

/** Limits of the names on a line, and of the lines. */
const [namesShown, linesShown] = [10, 100];

/**
 * Groups messages about many names into lines. Names with the same message share a line, `a, b and
 * 3 more: message`, in the order of the first. Of more than a hundred lines, the others are
 * counted.
 */
export function groupMessages(messages: Iterable<readonly [name: string, message: string]>): string[] {
  const groups = [...Map.groupBy(messages, ([, message]) => message)];
  const left = groups.slice(linesShown).reduce((sum, [, { length }]) => sum + length, 0);
  const lines = groups.slice(0, linesShown).map(
    ([message, named]) =>
      `${shortenList(
        named.map(([name]) => name),
        namesShown,
      )}: ${message}`,
  );
  return left === 0 ? lines : [...lines, `and ${left} more with other messages`];
}
