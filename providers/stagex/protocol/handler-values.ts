import type { Struct } from "google-protobuf/google/protobuf/struct_pb.js";
import type { z } from "zod";
import { type CheckFailure, toCheckFailures } from "../../../config/check-failures.ts";
import { printable } from "../../../lib/text/printable.ts";
import type { Operation } from "../../../pipeline/operation.ts";
import { previewSchema, unknown } from "../../../pipeline/unknown-schema.ts";
import { StatusError } from "./grpc-status.ts";
import type { AnyResourceHandler } from "./handler.ts";
import {
  decodeProperties,
  encodeProperties,
  type PropertyMap,
  secretPaths,
  unwrapSecrets,
} from "./property-values.ts";

/** Checks inputs, of which a preview may leave some unknown, by schema and by handler. */
export function checkInputs(handler: AnyResourceHandler, news: PropertyMap): CheckFailure[] {
  const result = previewSchema(handler.inputs).safeParse(unwrapSecrets(news));
  if (!result.success) return toCheckFailures(result.error);
  return handler.check(result.data as PropertyMap, secretPaths(news));
}

/**
 * Parses inputs that have passed Check.
 * @throws StatusError if they fail now, which is a defect of the engine or of this provider
 */
export function requireInputs(
  handler: AnyResourceHandler,
  schema: z.ZodType,
  struct: Struct | undefined,
): PropertyMap {
  const result = schema.safeParse(unwrapSecrets(decodeProperties(struct)));
  if (result.success) return result.data as PropertyMap;
  const reasons = toCheckFailures(result.error).map(
    ({ property, reason }) => printable`${property}: ${reason}`,
  );
  throw new StatusError("INVALID_ARGUMENT", `inputs of ${handler.token}: ${reasons.join("; ")}`);
}

/** Parses the state. Returns undefined if another version of this provider wrote it differently. */
export function parseState(schema: z.ZodType, struct: Struct | undefined): PropertyMap | undefined {
  return schema.safeParse(unwrapSecrets(decodeProperties(struct))).data as PropertyMap | undefined;
}

/** Returns the outputs of a preview. Those that are not certain are unknown. */
export async function previewOutputs(
  handler: AnyResourceHandler,
  struct: Struct | undefined,
  isNew: boolean,
  operation: Operation,
): Promise<Struct> {
  const certain = await handler.preview(
    requireInputs(handler, previewSchema(handler.inputs), struct),
    isNew,
    operation,
  );
  return encodeProperties(
    Object.fromEntries(Object.keys(handler.outputs.shape).map((name) => [name, certain[name] ?? unknown])),
  );
}
