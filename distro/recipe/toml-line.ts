import { createRequire } from "node:module";
import type { AST } from "toml-eslint-parser";

type TomlParser = typeof import("toml-eslint-parser");

/**
 * Parses a TOML file once and tells the 1-based line of each field, or of the innermost table above it that is there.
 * A second, slower parser that keeps positions: only a file that is wrong is ever parsed by it, so it loads only then.
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
    // What the first parser has taken, this one may find too deep: a problem without a line is still a problem.
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

/** No field that a problem is about lies deeper; the path of each place below would be longer than the one before. */
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
