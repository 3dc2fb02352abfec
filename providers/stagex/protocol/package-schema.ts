import { z } from "zod";
import { configShape } from "../../../config/schema.ts";
import type { AnyResourceHandler, FunctionHandler } from "./handler.ts";

/** What the schema is made of: the provider's name and version, and its resources. */
export type DescribedProvider = {
  readonly name: string;
  readonly version: string;
  readonly handlers: readonly Pick<AnyResourceHandler, "token" | "description" | "inputs" | "outputs">[];
  readonly functions: readonly Pick<FunctionHandler, "token" | "description" | "inputs" | "outputs">[];
};

/** The part of JSON Schema that zod gives here and Pulumi's own schema takes over. */
const property = z.object({
  type: z.enum(["string", "boolean", "integer", "number", "array", "object"]).default("string"),
  description: z.string().optional(),
  secret: z.boolean().optional(),
  get items() {
    return property.optional();
  },
  get additionalProperties() {
    // Pulumi's schema has a type here and never a boolean: of a table with fixed properties, any value.
    return z.union([property, z.literal(false).transform(() => anyValue)]).optional();
  },
});
/** Any value, in Pulumi's own schema (pulumi.com/docs: "Package schema", built-in types). */
const anyValue = { $ref: "pulumi.json#/Any" } as const;
const table = z.object({
  properties: z.record(z.string(), property).default({}),
  required: z.array(z.string()).default([]),
});

/** The Pulumi package schema (pulumi.com/docs: "Package schema"), made from the zod schemas and nothing else. */
export function packageSchema(described: DescribedProvider): object {
  const config = tableOf(z.object(configShape));
  return {
    name: described.name,
    version: described.version,
    description:
      "StageX's packages as resources: inputs are sources and dependency digests, the output is the OCI digest.",
    config: { variables: config.properties },
    provider: { inputProperties: config.properties },
    resources: Object.fromEntries(
      described.handlers.map((handler) => {
        const [inputs, outputs] = [tableOf(handler.inputs), tableOf(handler.outputs)];
        return [
          handler.token,
          {
            description: handler.description,
            inputProperties: inputs.properties,
            requiredInputs: inputs.required,
            properties: outputs.properties,
            required: outputs.required,
          },
        ];
      }),
    ),
    functions: Object.fromEntries(
      described.functions.map(({ token, description, inputs, outputs }) => [
        token,
        { description, inputs: objectOf(inputs), outputs: objectOf(outputs) },
      ]),
    ),
  };
}

function objectOf(schema: z.ZodType): object {
  return { type: "object", ...tableOf(schema) };
}

function tableOf(schema: z.ZodType): z.infer<typeof table> {
  // A digest is a text with a check of its own, which JSON Schema has no word for: `any` there, `string` here.
  return table.parse(z.toJSONSchema(schema, { unrepresentable: "any", io: "input" }));
}
