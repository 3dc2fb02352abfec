import { distance } from "fastest-levenshtein";

/** Names that people mistype are shorter; the distance of longer ones takes long to compute. */
const longest = 200;

/**
 * Returns the name that was probably meant (the least edit distance, at most a third of the name),
 * or undefined.
 */
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

/** More hints help nobody: the first mistakes are corrected first. */
const mostHints = 20;

/**
 * Returns {@link findNearestName} for these names, with a limited number of answers: each compares
 * all names, and a hostile tree asks for one in each line.
 */
export function boundedNearestName(names: () => Iterable<string>): (name: string) => string | undefined {
  let left = mostHints;
  return (name) => (left-- > 0 ? findNearestName(name, names()) : undefined);
}
