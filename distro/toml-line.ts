import { createRequire } from "node:module";
import type { AST } from "toml-eslint-parser";

type TomlParser = typeof import("toml-eslint-parser");

/**
 * The 1-based line of a field, or of the innermost table above it that is there.
 * A second, slower parser that keeps positions: only a file that is wrong is ever parsed by it, so it loads only then.
 */
export function lineOfField(text: string, field: readonly PropertyKey[]): number | undefined {
  const parser: TomlParser = createRequire(import.meta.url)("toml-eslint-parser");
  const path = field.map(String);
  const top = parser.parseTOML(text).body[0];
  let best: { depth: number; line: number } | undefined;
  for (const place of places(top.body, [])) {
    const within =
      place.path.length <= path.length && place.path.every((part, index) => part === path[index]);
    if (within && place.path.length > (best?.depth ?? 0))
      best = { depth: place.path.length, line: place.line };
  }
  return best?.line;
}

type Place = { path: string[]; line: number };

function* places(nodes: readonly (AST.TOMLKeyValue | AST.TOMLTable)[], above: string[]): Generator<Place> {
  for (const node of nodes) {
    if (node.type === "TOMLTable") {
      const path = node.resolvedKey.map(String);
      yield { path, line: node.loc.start.line };
      yield* places(node.body, path);
    } else {
      const keys = node.key.keys.map((key) => (key.type === "TOMLBare" ? key.name : key.value));
      const path = [...above, ...keys];
      yield { path, line: node.loc.start.line };
      yield* valuePlaces(node.value, path);
    }
  }
}

function* valuePlaces(value: AST.TOMLContentNode, path: string[]): Generator<Place> {
  if (value.type === "TOMLInlineTable") yield* places(value.body, path);
  if (value.type !== "TOMLArray") return;
  for (const [index, element] of value.elements.entries()) {
    yield { path: [...path, String(index)], line: element.loc.start.line };
    yield* valuePlaces(element, [...path, String(index)]);
  }
}
