import { distance } from "fastest-levenshtein";

/** No name that anybody slips in is longer; the distance of longer ones takes long to find. */
const longest = 200;

/** The name that was probably meant (the least edit distance, at most a third of the name), or undefined. */
export function findNearestName(name: string, names: Iterable<string>): string | undefined {
  if (name.length > longest) return undefined;
  let nearest: string | undefined;
  let least = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of names) {
    if (Math.abs(candidate.length - name.length) >= least) continue;
    const edits = distance(name, candidate);
    if (edits < least) {
      nearest = candidate;
      least = edits;
    }
  }
  return nearest;
}

/** Whoever has made more slips than this mends the first ones first. */
const mostHints = 20;

/**
 * Returns {@link findNearestName} for these names that answers a bounded number of times and then no more: each answer looks at all
 * names, and a hostile tree asks as often as it has lines.
 */
export function boundedNearestName(names: () => Iterable<string>): (name: string) => string | undefined {
  let left = mostHints;
  return (name) => (left-- > 0 ? findNearestName(name, names()) : undefined);
}
