import { createRequire } from "node:module";
import type { AST } from "toml-eslint-parser";

type TomlParser = typeof import("toml-eslint-parser");

/**
 * Parses a TOML file once, and returns a function that gives the 1-based line of a field. For an
 * absent field it gives the line of the innermost table above it. This second parser keeps
 * positions, but is slower: it loads only for a file with a mistake.
 */
export function fieldLines(text: string): (field: readonly PropertyKey[]) => number | undefined {
  if (text.length > largest) return () => undefined;
  const parser: TomlParser = createRequire(import.meta.url)("toml-eslint-parser");
  const lines = new Map<string, number>();
  try {
    for (const { path, line } of places(parser.parseTOML(text).body[0].body, [])) {
      const key = keyOf(path);
      if (!lines.has(key)) lines.set(key, line);
    }
  } catch {
    // The first parser may accept a file that is too deep for this one: the problem then has no
    // line.
  }
  return (field) => {
    const path = field.map(String);
    for (let depth = path.length; depth > 0; depth--) {
      const line = lines.get(keyOf(path.slice(0, depth)));
      if (line !== undefined) return line;
    }
    return undefined;
  };
}

/** In characters. The parser takes more than linear time; StageX's largest file has 60,000. */
const largest = 1 << 17;

/** Problems are about fields of at most this depth. Deeper places would have ever longer paths. */
const deepest = 8;

function keyOf(path: readonly string[]): string {
  return JSON.stringify(path);
}

type Place = { path: string[]; line: number };

function* places(nodes: readonly (AST.TOMLKeyValue | AST.TOMLTable)[], above: string[]): Generator<Place> {
  if (above.length > deepest) return;
  for (const node of nodes) {
    if (node.type === "TOMLTable") {
      const path = node.resolvedKey.slice(0, deepest).map(String);
      yield { path, line: node.loc.start.line };
      yield* places(node.body, path);
    } else {
      const keys = node.key.keys
        .slice(0, deepest)
        .map((key) => (key.type === "TOMLBare" ? key.name : key.value));
      const path = [...above, ...keys];
      yield { path, line: node.loc.start.line };
      yield* valuePlaces(node.value, path);
    }
  }
}

function* valuePlaces(value: AST.TOMLContentNode, path: string[]): Generator<Place> {
  if (path.length > deepest) return;
  if (value.type === "TOMLInlineTable") yield* places(value.body, path);
  if (value.type !== "TOMLArray") return;
  for (const [index, element] of value.elements.entries()) {
    yield { path: [...path, String(index)], line: element.loc.start.line };
    yield* valuePlaces(element, [...path, String(index)]);
  }
}
