import { CustomResource, type CustomResourceOptions, type Input, type Output } from "@pulumi/pulumi";
import type { z } from "zod";
import type { ResourceDefinition } from "./resource-definition.ts";

/**
 * A value that may be another resource's output, also inside tables. A list is an output as a
 * whole, as in a preview (pipeline/unknown-schema.ts).
 */
type InputOf<Value> = [Value] extends [string | number | boolean | readonly unknown[] | undefined]
  ? Input<Value>
  : Input<{ [Name in keyof Value]: InputOf<Value[Name]> }>;

/** The arguments of a resource with these inputs. */
export type ResourceArgs<Inputs extends z.ZodObject> = {
  [Name in keyof z.input<Inputs>]: InputOf<z.input<Inputs>[Name]>;
};

/** A resource with these outputs. */
export type DefinedResource<Outputs extends z.ZodObject> = CustomResource & {
  readonly [Name in keyof z.output<Outputs>]-?: Output<z.output<Outputs>[Name]>;
};

/** The class of a resource, as a program uses it. */
type ResourceClass<Inputs extends z.ZodObject, Outputs extends z.ZodObject> = new (
  name: string,
  args: ResourceArgs<Inputs>,
  options?: CustomResourceOptions,
) => DefinedResource<Outputs>;

/** Makes the class of a resource from its definition, for a program to register instances of. */
export function defineResource<Inputs extends z.ZodObject, Outputs extends z.ZodObject>({
  token,
  outputs,
}: Pick<ResourceDefinition<Inputs, Outputs>, "token" | "inputs" | "outputs">): ResourceClass<
  Inputs,
  Outputs
> {
  const outputNames = Object.keys(outputs.shape);
  class DefinedCustomResource extends CustomResource {
    constructor(name: string, args: ResourceArgs<Inputs>, options?: CustomResourceOptions) {
      const properties: Record<string, unknown> = Object.fromEntries(
        outputNames.map((output) => [output, undefined]),
      );
      super(token, name, properties, options);
      // The SDK gives the resource an output, with four promises, for each property that it finds
      // here. Programs read no inputs from a resource, so they join the properties afterwards,
      // before any is sent: a third less time for the program of a large tree.
      Object.assign(properties, args);
    }
  }
  return DefinedCustomResource as unknown as ResourceClass<Inputs, Outputs>;
}
