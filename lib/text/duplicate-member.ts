import { type AnyNode, parse } from "@humanwhocodes/momoa";

/**
 * Finds a member that comes twice in an object of a JSON text. JSON.parse takes the last one and
 * other readers the first, so two programs read two documents from the same bytes. Momoa, the
 * parser used here, keeps both.
 * @param text valid JSON
 * @returns the member's name; undefined where there is none
 */
export function findDuplicateMember(text: string): string | undefined {
  return duplicateIn(parse(text, { mode: "json" }).body);
}

function duplicateIn(node: AnyNode): string | undefined {
  if (node.type === "Array") return firstOf(node.elements, ({ value }) => duplicateIn(value));
  if (node.type !== "Object") return undefined;
  const names = new Set<string>();
  return firstOf(node.members, ({ name, value }) => {
    const text = name.type === "String" ? name.value : name.name;
    if (names.has(text)) return text;
    names.add(text);
    return duplicateIn(value);
  });
}

function firstOf<Item>(items: readonly Item[], find: (item: Item) => string | undefined): string | undefined {
  for (const item of items) {
    const found = find(item);
    if (found !== undefined) return found;
  }
  return undefined;
}
