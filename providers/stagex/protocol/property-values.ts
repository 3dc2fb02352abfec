import structs from "google-protobuf/google/protobuf/struct_pb.js";
import { propertyPath } from "../../../config/check-failures.ts";
import { unknown } from "../../../pipeline/unknown-schema.ts";

/** A value that the engine keeps encrypted in its state. */
export class Secret {
  readonly value: PropertyValue;
  constructor(value: PropertyValue) {
    this.value = value;
  }
}

/** The value of a property, between the wire and the handlers. */
export type PropertyValue =
  | null
  | boolean
  | number
  | string
  | typeof unknown
  | Secret
  | readonly PropertyValue[]
  | { readonly [property: string]: PropertyValue | undefined };
/** Properties by name. An undefined property counts as missing. */
export type PropertyMap = { readonly [property: string]: PropertyValue | undefined };

// Pulumi's marks (sdk/go/common/resource/plugin/rpc.go). There is one mark of an unknown for each
// type of its value.
const signatureKey = "4dabf18193072939515e22adb298388d";
const secretSignature = "1b47061264138c4ac30d75fd1eb44270";
const unknownString = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const unknownMarks: ReadonlySet<unknown> = new Set([
  unknownString,
  "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7", // boolean
  "3eeb2bf0-c639-47a8-9e75-3b44932eb421", // number
  "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2", // array
  "030794c1-ac77-496b-92df-f27374a8bd58", // asset
  "e48ece36-62e2-4504-bad9-02848725956a", // archive
  "dd056dcd-154b-4c76-9bd3-c8f88648b5ff", // object
]);

/** Decodes the properties in a message's Struct; none if it has no Struct. */
export function decodeProperties(struct: structs.Struct | undefined): PropertyMap {
  return mapValues(struct?.toJavaScript() ?? {}, decode);
}

/** Encodes properties as a Struct, with the engine's marks of unknowns and secrets. */
export function encodeProperties(properties: PropertyMap): structs.Struct {
  return structs.Struct.fromJavaScript(mapValues(properties, encode));
}

/**
 * Replaces every secret in a value by its plain value, for code that does not store it; null for a
 * missing one.
 */
export function unwrapSecrets(value: PropertyValue | undefined): PropertyValue {
  if (value === undefined) return null;
  if (value instanceof Secret) return unwrapSecrets(value.value);
  if (Array.isArray(value)) return value.map(unwrapSecrets);
  return isRecord(value) ? mapValues(value, unwrapSecrets) : value;
}

/** Returns the paths of the secrets in a value, as `propertyPath` writes them. */
export function secretPaths(value: PropertyValue, path: readonly (string | number)[] = []): string[] {
  if (value instanceof Secret) return [propertyPath(path)];
  if (Array.isArray(value)) return value.flatMap((item, index) => secretPaths(item, [...path, index]));
  if (!isRecord(value)) return [];
  return Object.entries(value).flatMap(([name, item]) => secretPaths(item ?? null, [...path, name]));
}

function decode(value: unknown): PropertyValue {
  if (unknownMarks.has(value)) return unknown;
  if (value === null || ["boolean", "number", "string"].includes(typeof value)) return value as PropertyValue;
  if (Array.isArray(value)) return value.map(decode);
  const record = value as Readonly<Record<string, unknown>>;
  if (record[signatureKey] === secretSignature) return new Secret(decode(record.value ?? null));
  return mapValues(record, decode);
}

function encode(value: PropertyValue): structs.JavaScriptValue {
  if (value === unknown) return unknownString;
  if (value instanceof Secret) return { [signatureKey]: secretSignature, value: encode(value.value) };
  if (Array.isArray(value)) return value.map(encode);
  if (isRecord(value)) return mapValues(value, encode);
  return value as structs.JavaScriptValue;
}

function isRecord(value: PropertyValue): value is PropertyMap {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Secret);
}

function mapValues<From, To>(
  record: { readonly [name: string]: From | undefined },
  map: (value: From) => To,
): Record<string, To> {
  const mapped: Record<string, To> = {};
  for (const [name, value] of Object.entries(record)) if (value !== undefined) mapped[name] = map(value);
  return mapped;
}
