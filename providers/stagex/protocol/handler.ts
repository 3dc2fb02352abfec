import type { z } from "zod";
import type { CheckFailure } from "../../../config/check-failures.ts";
import type { Operation } from "../../../pipeline/operation.ts";
import type { PropertyMap } from "./property-values.ts";

/** How one property differs between the state and the program (pulumirpc.PropertyDiff.Kind). */
export type PropertyChange = {
  /** As `propertyPath` writes it. */
  readonly path: string;
  readonly kind: "add" | "delete" | "update";
  /** The resource must be made anew rather than changed. */
  readonly replaces: boolean;
};

/**
 * The resource exists, but is not what it was asked to be: thrown by create, update and read. The engine keeps it in its state with
 * these outputs, shows the reasons, makes nothing that depends on it, and asks for an update in the next run whatever has changed.
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

/** A handler of any resource: what calls it knows inputs and outputs only as what its own schemas accept. */
export type AnyResourceHandler = ResourceHandler<PropertyMap, PropertyMap, PropertyMap>;

/**
 * The contract of a resource. Inputs have passed `check` and are parsed; `Plan` is the inputs where a preview may
 * leave some unknown. Whatever a handler throws becomes a gRPC status in the server, and nowhere else.
 */
export type ResourceHandler<Plan, Inputs, Outputs> = {
  readonly token: string;
  readonly description: string;
  /** Of the inputs, all known: what the public schema shows. */
  readonly inputs: z.ZodObject & z.ZodType<Inputs>;
  readonly outputs: z.ZodObject & z.ZodType<Outputs>;
  /** What the schema cannot say; `secrets` are the paths of inputs that the program marked as secret. */
  check(plan: Plan, secrets: readonly string[]): CheckFailure[];
  diff(before: PropertyMap, after: PropertyMap): PropertyChange[];
  /**
   * Asked where `diff` finds nothing: what else asks for an update, such as a setting under which the outputs would not have come about.
   * @param state parses what the state has; undefined where another version of the provider wrote it
   * @param glance reads a text of the inputs or outputs unparsed, which takes a fraction of the time: undefined where there is none of
   *   that name, empty where it is no plain text
   */
  review?(
    state: () => { inputs: Inputs; outputs: Outputs } | undefined,
    operation: Pick<Operation, "report">,
    glance: (side: "inputs" | "outputs", name: string) => string | undefined,
  ): Promise<PropertyChange[]>;
  /** The outputs that are certain before anything is done; all others are unknown. `isNew`: it would be created. */
  preview(plan: Plan, isNew: boolean, operation: Operation): Promise<Partial<Outputs>>;
  create(inputs: Inputs, operation: Operation): Promise<{ id: string; outputs: Outputs }>;
  update(id: string, inputs: Inputs, operation: Operation): Promise<Outputs>;
  /**
   * The resource as it really is, or undefined where it no longer exists. `state` is undefined on import, and where
   * another version of the provider wrote it.
   */
  read(
    id: string,
    state: { inputs: Inputs; outputs: Outputs } | undefined,
    operation: Operation,
  ): Promise<{ inputs: Inputs; outputs: Outputs } | undefined>;
  /** Succeeds where there is nothing left to delete. */
  delete(id: string, outputs: Outputs | undefined, operation: Operation): Promise<void>;
};

/** A function of the provider, which a program may invoke; it changes nothing. */
export type FunctionHandler = {
  readonly token: string;
  readonly description: string;
  readonly inputs: z.ZodObject;
  readonly outputs: z.ZodObject;
  call(inputs: PropertyMap): Promise<PropertyMap>;
};
