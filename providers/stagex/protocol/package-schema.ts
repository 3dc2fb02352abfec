import { z } from "zod";
import { renamedKeys } from "../../../config/renamed-keys.ts";
import { configShape } from "../../../config/schema.ts";
import type { FunctionHandler } from "./handler.ts";
import type { ResourceDefinition } from "./resource-definition.ts";

/** The parts of a provider that its schema describes. */
export type DescribedProvider = {
  readonly name: string;
  readonly version: string;
  readonly handlers: readonly ResourceDefinition[];
  readonly functions: readonly Pick<FunctionHandler, "token" | "description" | "inputs" | "outputs">[];
};

/** The part of zod's JSON Schema that Pulumi's schema shares. */
const property = z.object({
  type: z.enum(["string", "boolean", "integer", "number", "array", "object"]).default("string"),
  description: z.string().optional(),
  secret: z.boolean().optional(),
  get items() {
    return property.optional();
  },
  get additionalProperties() {
    // Pulumi's schema takes a type here and no boolean: any value, for a table with fixed
    // properties.
    return z.union([property, z.literal(false).transform(() => anyValue)]).optional();
  },
});
/** Any value, in Pulumi's own schema (pulumi.com/docs: "Package schema", built-in types). */
const anyValue = { $ref: "pulumi.json#/Any" } as const;
const table = z.object({
  properties: z.record(z.string(), property).default({}),
  required: z.array(z.string()).default([]),
});

/**
 * Returns the Pulumi package schema (pulumi.com/docs: "Package schema"), derived from the zod
 * schemas.
 */
export function packageSchema(described: DescribedProvider): object {
  const config = withOldNames(tableOf(z.object(configShape)).properties);
  return {
    name: described.name,
    version: described.version,
    description:
      "StageX's packages as resources. Their inputs are sources and dependencies' digests; their output is the OCI digest.",
    config: { variables: config },
    provider: { inputProperties: config },
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

/** Adds the old name of each renamed key, as deprecated. */
function withOldNames(properties: Readonly<Record<string, object>>): Record<string, object> {
  const old = [...renamedKeys].map(([key, name]) => [
    key,
    { ...properties[name], deprecationMessage: `Use ${name} instead.` },
  ]);
  return { ...properties, ...Object.fromEntries(old) };
}

function objectOf(schema: z.ZodType): object {
  return { type: "object", ...tableOf(schema) };
}

function tableOf(schema: z.ZodType): z.infer<typeof table> {
  // JSON Schema cannot express the check of a digest: it has `any` there, which the default above
  // turns into `string`.
  return table.parse(z.toJSONSchema(schema, { unrepresentable: "any", io: "input" }));
}
