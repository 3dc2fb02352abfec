import fc from "fast-check";
import { expect, test } from "vitest";
import { parseDigest } from "../../../../oci/digest.ts";
import { parsePayload, serializePayload } from "../../../../trust/signatures/simple-signing.ts";
import { digest, payload } from "../../../support/builders/maintainers.ts";

test("writes the bytes that StageX signs if there are no claims", () => {
  const bytes = serializePayload({
    reference: "stagex/core-seed:1.0",
    digest: parseDigest(digest),
    builder: {},
  });
  expect(Buffer.from(bytes).toString()).toBe(payload());
});

test("reads what was written, for all facts about a builder", () => {
  const fact = fc.string({ minLength: 1, maxLength: 200 });
  const builder = fc.record(
    { arch: fact, cpuVendor: fact, cpuModel: fact, kernel: fact, buildkit: fact, go: fact },
    { requiredKeys: [] },
  );
  const rest = fc.record({ creator: fc.string(), timestamp: fc.maxSafeInteger() }, { requiredKeys: [] });
  fc.assert(
    fc.property(builder, rest, (builder, rest) => {
      const written = { reference: "stagex/core-seed:1.0", digest: parseDigest(digest), builder, ...rest };
      expect(parsePayload(serializePayload(written))).toEqual({
        ...written,
        reference: "docker.io/stagex/core-seed:1.0",
      });
    }),
  );
});

test("writes equal payloads to equal bytes, in any order of members", () => {
  const of = (builder: object) =>
    Buffer.from(serializePayload({ reference: "a/b:1", digest: parseDigest(digest), builder }));
  expect(of({ arch: "amd64", kernel: "6" })).toEqual(of({ kernel: "6", arch: "amd64" }));
});

test("accepts unknown members of optional, and white space", () => {
  expect(
    parsePayload(Buffer.from(`${payload({ optional: { "x-other": { deep: [1, 2.5] } } })}\n`)).builder,
  ).toEqual({});
});

test("rejects endless nesting", () => {
  const deep = `${"[".repeat(30_000)}${"]".repeat(30_000)}`;
  expect(() => parsePayload(Buffer.from(payload().replace("{}", `{"a":${deep}}`)))).toThrow(/not JSON|bytes/);
});
