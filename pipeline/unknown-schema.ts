import { z } from "zod";

/**
 * A value that the engine does not know yet: an output of a resource that a preview would change.
 */
export const unknown: unique symbol = Symbol("unknown");

const unknownValue = z.custom<typeof unknown>((value) => value === unknown);
type Unknown = typeof unknownValue;

/** A schema that also accepts an unknown, in its place and in place of each of its parts. */
type OrUnknown<Known extends z.core.SomeType> =
  Known extends z.ZodOptional<infer Inner>
    ? z.ZodOptional<OrUnknown<Inner>>
    : Known extends z.ZodRecord<infer Key, infer Value>
      ? z.ZodUnion<[z.ZodRecord<Key, OrUnknown<Value>>, Unknown]>
      : Known extends z.ZodObject
        ? z.ZodUnion<[PreviewSchema<Known>, Unknown]>
        : z.ZodUnion<[Known, Unknown]>;

/**
 * The inputs of a resource in a preview, where outputs of other resources may be unknown.
 */
export type PreviewSchema<Inputs extends z.ZodObject> =
  Inputs extends z.ZodObject<infer Shape, infer Config>
    ? z.ZodObject<{ [Name in keyof Shape]: OrUnknown<Shape[Name]> }, Config>
    : never;

/** The values that {@link PreviewSchema} takes. */
export type InPreview<Inputs extends z.ZodObject> = z.infer<PreviewSchema<Inputs>>;

/** The schemas of previews by those of inputs: each is derived once. */
const derived = new WeakMap<z.ZodObject, z.ZodObject>();

/**
 * Derives the schema of a preview from the schema of the inputs, also within records and objects.
 * An array is known as a whole or not.
 */
export function previewSchema<Inputs extends z.ZodObject>(inputs: Inputs): PreviewSchema<Inputs> {
  const known = derived.get(inputs);
  if (known !== undefined) return known as unknown as PreviewSchema<Inputs>;
  const shape = Object.entries(inputs.shape).map(([name, schema]) => [name, orUnknown(schema)]);
  const schema = inputs.extend(Object.fromEntries(shape));
  derived.set(inputs, schema);
  return schema as unknown as PreviewSchema<Inputs>;
}

/** Tells whether a value has no unknown part, at any depth. */
export function isFullyKnown(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return value !== unknown;
  return Object.values(value).every(isFullyKnown);
}

function orUnknown(known: z.core.$ZodType): z.core.$ZodType {
  if (known instanceof z.ZodOptional) return z.optional(orUnknown(known.unwrap()));
  if (known instanceof z.ZodRecord)
    return z.union([z.record(known.keyType, orUnknown(known.valueType)), unknownValue]);
  return z.union([known instanceof z.ZodObject ? previewSchema(known) : known, unknownValue]);
}
