import fc from "fast-check";
import { expect, test } from "vitest";
import type { ContextFile } from "../../../distro/build-plan.ts";
import {
  buildFlagsVersion,
  computeInputKey,
  hashContext,
  type KeyedInputs,
  parseInputKey,
} from "../../../distro/input-key.ts";
import { type Digest, digestOf } from "../../../oci/digest.ts";

const hex = fc.stringMatching(/^[0-9a-f]{64}$/);
const digest: fc.Arbitrary<Digest> = fc.string().map((text) => digestOf(text));
const word = fc.string({ minLength: 1, maxLength: 8, unit: "binary" });
const platform = fc.constantFrom("linux/amd64", "linux/arm64", "linux/386", "linux/riscv64");
const mode = fc.constantFrom("100644" as const, "100755" as const, "120000" as const);
const file: fc.Arbitrary<ContextFile> = fc.record({ path: word, mode, sha256: hex });
const source = fc.record({ file: word, sha256: hex, mirrors: fc.array(fc.webUrl()), name: word });

const inputs = fc.record({
  image: word,
  version: word,
  containerfile: hex,
  context: hex,
  target: fc.option(word),
  platforms: fc.uniqueArray(platform, { minLength: 1 }),
  buildArgs: fc.dictionary(word, word),
  sources: fc.uniqueArray(source, { selector: ({ file }) => file }),
  dependencies: fc.dictionary(word, digest),
});

type Inputs = typeof inputs extends fc.Arbitrary<infer T> ? T : never;
type Change = (inputs: Inputs, other: string) => KeyedInputs | null;

/** Returns a text longer than any word, so it equals none. */
const fresh = (other: string) => `a name longer than any other ${other}`;

/** Changes of one input that can change the image; null where these inputs lack that input. */
const relevant: Record<string, Change> = {
  "the image's name": (inputs, other) => ({ ...inputs, image: inputs.image + other }),
  "the version": (inputs, other) => ({ ...inputs, version: inputs.version + other }),
  "the Containerfile": (inputs) => ({ ...inputs, containerfile: turned(inputs.containerfile) }),
  "the context": (inputs) => ({ ...inputs, context: turned(inputs.context) }),
  "the target": (inputs, other) => ({ ...inputs, target: (inputs.target ?? "") + other }),
  "no target": (inputs) => (inputs.target === null ? null : { ...inputs, target: null }),
  "another platform": (inputs) => ({ ...inputs, platforms: [...inputs.platforms, "linux/s390x"] }),
  // The index lists the manifests in this order, and StageX publishes the first (see KeyedInputs).
  "the platforms' order": (inputs) =>
    inputs.platforms.length < 2 ? null : { ...inputs, platforms: [...inputs.platforms].reverse() },
  "another build argument": (inputs, other) => ({
    ...inputs,
    buildArgs: { ...inputs.buildArgs, [fresh(other)]: other },
  }),
  "a build argument's value": (inputs, other) =>
    onFirst(Object.entries(inputs.buildArgs), ([name, value]) => ({
      ...inputs,
      buildArgs: { ...inputs.buildArgs, [name]: value + other },
    })),
  "a source's hash": (inputs) =>
    onFirst(inputs.sources, (first, rest) => ({
      ...inputs,
      sources: [{ ...first, sha256: turned(first.sha256) }, ...rest],
    })),
  "a source's file": (inputs, other) =>
    onFirst(inputs.sources, (first, rest) => ({
      ...inputs,
      sources: [{ ...first, file: fresh(other) }, ...rest],
    })),
  "a source less": (inputs) => onFirst(inputs.sources, (_, rest) => ({ ...inputs, sources: rest })),
  "a dependency's digest": (inputs) =>
    onFirst(Object.keys(inputs.dependencies), (name) => ({
      ...inputs,
      dependencies: { ...inputs.dependencies, [name]: digestOf("a text longer than any other") },
    })),
  "a dependency's name": (inputs, other) =>
    onFirst(Object.entries(inputs.dependencies), ([, digest], rest) => ({
      ...inputs,
      dependencies: { ...Object.fromEntries(rest), [fresh(other)]: digest },
    })),
  "a dependency less": (inputs) =>
    onFirst(Object.entries(inputs.dependencies), (_, rest) => ({
      ...inputs,
      dependencies: Object.fromEntries(rest),
    })),
};

/** Changes that can't change the image. */
const irrelevant: Record<string, Change> = {
  mirrors: (inputs, other) => ({
    ...inputs,
    sources: inputs.sources.map((source) => ({ ...source, mirrors: [other] })),
  }),
  "the sections' names": (inputs, other) => ({
    ...inputs,
    sources: inputs.sources.map((source) => ({ ...source, name: other })),
  }),
  "anything besides": (inputs, other) => Object.assign({}, inputs, { recipe: other, description: other }),
  "the sources' order": (inputs) => ({ ...inputs, sources: [...inputs.sources].reverse() }),
  "the build arguments' order": (inputs) => ({ ...inputs, buildArgs: reversed(inputs.buildArgs) }),
  "the dependencies' order": (inputs) => ({ ...inputs, dependencies: reversed(inputs.dependencies) }),
  "the members' order": (inputs) =>
    Object.assign(
      {},
      ...Object.entries(inputs)
        .reverse()
        .map(([name, value]) => ({ [name]: value })),
    ),
};

test.each(Object.entries(relevant))("%s changes the key", (_, change) => {
  let changes = 0;
  fc.assert(
    fc.property(inputs, word, (before, other) => {
      const after = change(before, other);
      if (after === null) return;
      changes += 1;
      expect(computeInputKey(after)).not.toBe(computeInputKey(before));
    }),
  );
  expect(changes).toBeGreaterThan(10);
});

test("the common flags of builds change the key", () => {
  fc.assert(
    fc.property(inputs, word, (inputs, other) => {
      expect(computeInputKey(inputs, buildFlagsVersion + other)).not.toBe(computeInputKey(inputs));
    }),
  );
});

test.each(Object.entries(irrelevant))("the key does not depend on %s", (_, change) => {
  fc.assert(
    fc.property(inputs, word, (before, other) => {
      expect(computeInputKey(change(before, other) ?? before)).toBe(computeInputKey(before));
    }),
  );
});

test("different inputs have different keys, even where text moves from one to the next", () => {
  const few = fc.constantFrom("a", "ab", "b", '"', ",", '","');
  const close = fc.record({
    image: few,
    version: few,
    containerfile: fc.constant("0".repeat(64)),
    context: fc.constant("0".repeat(64)),
    target: fc.option(few),
    platforms: fc.uniqueArray(few, { minLength: 1, maxLength: 2 }),
    buildArgs: fc.dictionary(few, few, { maxKeys: 2 }),
    sources: fc.array(fc.record({ file: few, sha256: few }), { maxLength: 2 }),
    dependencies: fc.constant({}),
  });
  const seen = new Map<string, string>();
  fc.assert(
    fc.property(close, (inputs) => {
      const { buildArgs, sources, ...rest } = inputs;
      const meaning = JSON.stringify([
        rest,
        Object.entries(buildArgs)
          .map((pair) => JSON.stringify(pair))
          .sort(),
        sources.map(({ file, sha256 }) => JSON.stringify([file, sha256])).sort(),
      ]);
      const key = computeInputKey(inputs);
      expect(seen.get(key) ?? meaning).toBe(meaning);
      seen.set(key, meaning);
    }),
    { numRuns: 2000 },
  );
  expect(seen.size).toBeGreaterThan(1000);
});

const musl = digestOf("musl");
const hello: KeyedInputs = {
  image: "core-hello",
  version: "1.0",
  containerfile: "1".repeat(64),
  context: "3".repeat(64),
  target: null,
  platforms: ["linux/amd64"],
  buildArgs: { VERSION: "1.0" },
  sources: [{ file: "hello.tar", sha256: "2".repeat(64) }],
  dependencies: { "core-musl": musl },
};

test("the encoding is pinned: a change must raise its format, or old ledgers become wrong", () => {
  const json =
    '{"annotations":{"name":"core-hello","version":"1.0"},"buildArgs":{"VERSION":"1.0"},' +
    `"containerfile":"${"1".repeat(64)}","context":"${"3".repeat(64)}",` +
    `"dependencies":{"core-musl":"${musl}"},"flags":"1","platforms":["linux/amd64"],` +
    `"sources":[["hello.tar","${"2".repeat(64)}"]],"target":null}`;
  expect(`sha256:${computeInputKey(hello, "1")}`).toBe(digestOf(`stagex-input-key/1\n${json}`));
});

test("rejects a dependency without a valid digest by name", () => {
  const unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9" as Digest;
  expect(() => computeInputKey({ ...hello, dependencies: { "core-musl": unknown } })).toThrow(
    "core-hello: its dependency core-musl has no digest but",
  );
});

test("a context's digest depends on paths, modes and contents, not on their order", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(file, { minLength: 1, selector: ({ path }) => path }),
      word,
      (files, other) => {
        const digest = hashContext(files);
        expect(digest).toMatch(/^[0-9a-f]{64}$/);
        expect(hashContext([...files].reverse())).toBe(digest);
        const [first, ...rest] = files;
        if (first === undefined) return;
        const changes: ContextFile[][] = [
          rest,
          [{ ...first, path: fresh(other) }, ...rest],
          [{ ...first, sha256: turned(first.sha256) }, ...rest],
          [{ ...first, mode: first.mode === "100644" ? "100755" : "100644" }, ...rest],
        ];
        for (const changed of changes) expect(hashContext(changed)).not.toBe(digest);
      },
    ),
  );
});

test("parses only 64 lower-case hex digits as an input key", () => {
  expect(parseInputKey("a".repeat(64))).toBe("a".repeat(64));
  for (const text of ["", "A".repeat(64), `../${"a".repeat(61)}`, "a".repeat(65)]) {
    expect(() => parseInputKey(text)).toThrow("not an input key");
  }
});

function onFirst<T>(
  list: readonly T[],
  change: (first: T, rest: T[]) => KeyedInputs | null,
): KeyedInputs | null {
  const [first, ...rest] = list;
  return first === undefined ? null : change(first, rest);
}

/** Returns another hash that differs in one digit. */
function turned(hash: string): string {
  return (hash.startsWith("0") ? "1" : "0") + hash.slice(1);
}

function reversed<T>(record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).reverse());
}
