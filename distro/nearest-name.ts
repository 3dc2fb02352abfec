import { distance } from "fastest-levenshtein";

/** The name that was probably meant (the least edit distance, at most a third of the name), or undefined. */
export function nearestName(name: string, names: Iterable<string>): string | undefined {
  let nearest: string | undefined;
  let least = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of names) {
    const edits = distance(name, candidate);
    if (edits < least) {
      nearest = candidate;
      least = edits;
    }
  }
  return nearest;
}
