import type { z } from "zod";
import type { CheckFailure } from "../../../config/check-failures.ts";
import type { Operation } from "../../../pipeline/operation.ts";
import type { InPreview } from "../../../pipeline/unknown-schema.ts";
import type { PropertyMap } from "./property-values.ts";
import type { ResourceDefinition } from "./resource-definition.ts";

/** A difference between the state and the program in one property (pulumirpc.PropertyDiff.Kind). */
export type PropertyChange = {
  /** As `propertyPath` writes it. */
  readonly path: string;
  readonly kind: "add" | "delete" | "update";
  /** The change requires a replacement of the resource. */
  readonly replaces: boolean;
};

/**
 * The resource exists, but not in the state that was asked for; thrown by create, update and read.
 * The engine keeps the resource with these outputs, shows the reasons, makes nothing that depends
 * on it, and calls update in the next run in any case.
 */
export class NotReadyError extends Error {
  override readonly name = "NotReady";
  readonly id: string;
  readonly outputs: PropertyMap;
  readonly reasons: readonly string[];

  constructor(id: string, outputs: PropertyMap, reasons: readonly string[]) {
    super(`${id} is not ready: ${reasons.join("; ")}`);
    this.id = id;
    this.outputs = outputs;
    this.reasons = reasons;
  }
}

/** The handler of a resource with this definition. */
export type ResourceHandler<Definition extends ResourceDefinition> = Definition &
  Methods<InPreview<Definition["inputs"]>, z.output<Definition["inputs"]>, z.output<Definition["outputs"]>>;

/**
 * The handler of any resource. Its caller knows the inputs and outputs only as values that its
 * schemas accept.
 */
export type AnyResourceHandler = ResourceDefinition & Methods<PropertyMap, PropertyMap, PropertyMap>;

/**
 * The operations of a resource. Inputs have passed `check` and are parsed; `Plan` is the inputs in
 * a preview, which may leave some unknown. The server turns every error of a handler into a gRPC
 * status.
 */
type Methods<Plan, Inputs, Outputs> = {
  /**
   * Checks what the schema cannot express.
   * @param secrets the paths of inputs that the program marked as secret
   */
  check(plan: Plan, secrets: readonly string[]): CheckFailure[];
  diff(before: PropertyMap, after: PropertyMap): PropertyChange[];
  /**
   * Finds other reasons for an update if `diff` finds none, such as a setting that the outputs do
   * not satisfy.
   * @param state parses the state; it returns undefined if another version of the provider wrote it
   * @param glance reads a text of the inputs or outputs unparsed, which is much faster. It returns
   *   undefined for a property that does not exist, and an empty text for one that is no plain
   *   text.
   */
  review?(
    state: () => { inputs: Inputs; outputs: Outputs } | undefined,
    operation: Pick<Operation, "report">,
    glance: (side: "inputs" | "outputs", name: string) => string | undefined,
  ): Promise<PropertyChange[]>;
  /**
   * Returns the outputs that are certain in advance; all others are unknown.
   * @param isNew the resource would be created
   */
  preview(plan: Plan, isNew: boolean, operation: Operation): Promise<Partial<Outputs>>;
  create(inputs: Inputs, operation: Operation): Promise<{ id: string; outputs: Outputs }>;
  update(id: string, inputs: Inputs, operation: Operation): Promise<Outputs>;
  /**
   * Returns the resource as it really is, or undefined if it no longer exists.
   * @param state undefined on import, and if another version of the provider wrote it
   */
  read(
    id: string,
    state: { inputs: Inputs; outputs: Outputs } | undefined,
    operation: Operation,
  ): Promise<{ inputs: Inputs; outputs: Outputs } | undefined>;
  /** Deletes the resource. Succeeds if nothing is left to delete. */
  delete(id: string, outputs: Outputs | undefined, operation: Operation): Promise<void>;
};

/** A function of the provider that programs can invoke. It changes nothing. */
export type FunctionHandler = {
  readonly token: string;
  readonly description: string;
  readonly inputs: z.ZodObject;
  readonly outputs: z.ZodObject;
  call(inputs: PropertyMap): Promise<PropertyMap>;
};
