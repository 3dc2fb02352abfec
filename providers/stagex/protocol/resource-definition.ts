import type { z } from "zod";

/** The public side of a resource: its token, and what a program gives and gets. */
export type ResourceDefinition<
  Inputs extends z.ZodObject = z.ZodObject,
  Outputs extends z.ZodObject = z.ZodObject,
> = {
  readonly token: string;
  readonly description: string;
  /** The inputs, all known: what the public schema shows. */
  readonly inputs: Inputs;
  readonly outputs: Outputs;
};
