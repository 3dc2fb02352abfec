import fc from "fast-check";
import structs from "google-protobuf/google/protobuf/struct_pb.js";
import { expect, test } from "vitest";
import { propertyPath } from "../../../../../config/check-failures.ts";
import { unknown } from "../../../../../pipeline/unknown-schema.ts";
import {
  decodeProperties,
  encodeProperties,
  type PropertyValue,
  Secret,
  secretPaths,
  unwrapSecrets,
} from "../../../../../providers/stagex/protocol/property-values.ts";

const { value } = fc.letrec<{ value: PropertyValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.constant(null),
    fc.boolean(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.string(),
    fc.constant(unknown),
    tie("value").map((inner) => new Secret(inner)),
    fc.array(tie("value")),
    fc.dictionary(
      fc.string().filter((name) => name !== "__proto__"),
      tie("value"),
    ),
  ),
}));

test("decodes what it encodes, secrets and unknowns included", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom("a", "b", "c-d"), value), (properties) => {
      const bytes = encodeProperties(properties).serializeBinary();
      expect(decodeProperties(structs.Struct.deserializeBinary(bytes))).toEqual({ ...properties });
    }),
  );
});

test("decodes the unknown mark of every type", () => {
  const array = structs.Struct.fromJavaScript({ list: "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2" });
  expect(decodeProperties(array)).toEqual({ list: unknown });
});

test("unwraps all secrets, and returns their paths in the engine's notation", () => {
  const properties = {
    args: { TOKEN: new Secret("x"), "with-dash": new Secret({ deep: 1 }) },
    list: [new Secret(2)],
  };
  expect(unwrapSecrets(properties)).toEqual({ args: { TOKEN: "x", "with-dash": { deep: 1 } }, list: [2] });
  expect(secretPaths(properties)).toEqual(["args.TOKEN", 'args["with-dash"]', "list[0]"]);
});

test("quotes names in a path that are no identifiers", () => {
  expect(propertyPath(["dependencies", "core-musl"])).toBe('dependencies["core-musl"]');
  expect(propertyPath(["platforms", 1])).toBe("platforms[1]");
  expect(propertyPath(["buildArgs", "VERSION"])).toBe("buildArgs.VERSION");
});
