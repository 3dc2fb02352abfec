import { z } from "zod";
import { unknown } from "./property-values.ts";

const unknownValue = z.custom<typeof unknown>((value) => value === unknown);

/** A schema that also takes a value that the engine does not know yet. */
export function orUnknown<Known extends z.ZodType>(known: Known): z.ZodUnion<[Known, typeof unknownValue]> {
  return z.union([known, unknownValue]);
}

/** A record of which any value, or the whole, may not be known yet. */
export function recordOrUnknown<Key extends z.core.$ZodRecordKey, Known extends z.ZodType>(
  key: Key,
  known: Known,
) {
  return orUnknown(z.record(key, orUnknown(known)));
}

/** Whether there is nothing unknown in a value, however deep. */
export function isWhollyKnown(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return value !== unknown;
  return Object.values(value).every(isWhollyKnown);
}
