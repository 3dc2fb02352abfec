import type { z } from "zod";
import type { AnyResourceHandler } from "./handler.ts";
import { type PropertyMap, Secret } from "./property-values.ts";

/**
 * Marks an output that the engine keeps encrypted and does not display:
 * `z.string().meta(secretOutput)`.
 */
export const secretOutput = { secret: true } as const;

/**
 * Wraps a handler, so that it returns all outputs with the mark {@link secretOutput} as secrets.
 */
export function withSecretOutputs(handler: AnyResourceHandler): AnyResourceHandler {
  const names = secretNames(handler.outputs);
  if (names.length === 0) return handler;
  const wrapped = (outputs: PropertyMap): PropertyMap => ({
    ...outputs,
    ...Object.fromEntries(names.map((name) => [name, new Secret(outputs[name] ?? null)])),
  });
  return {
    ...handler,
    async create(inputs, operation) {
      const { id, outputs } = await handler.create(inputs, operation);
      return { id, outputs: wrapped(outputs) };
    },
    update: async (id, inputs, operation) => wrapped(await handler.update(id, inputs, operation)),
    async read(id, state, operation) {
      const found = await handler.read(id, state, operation);
      return found && { inputs: found.inputs, outputs: wrapped(found.outputs) };
    },
  };
}

function secretNames(outputs: z.ZodObject): string[] {
  return Object.entries(outputs.shape)
    .filter(([, schema]) => (schema as z.ZodType).meta()?.secret === true)
    .map(([name]) => name);
}
