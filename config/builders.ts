import { z } from "zod";
import { builderInputs } from "./builder-inputs.ts";

const file = z.string().min(1);

/** A builder of the `static` fleet, as `stagex:builders` lists them. */
export const configuredBuilder = builderInputs.omit({ tls: true, memory: true }).extend({
  memory: z
    .number()
    .positive()
    .optional()
    .describe("GiB of memory for all its builds together. Default: memory is not counted."),
  machine: z
    .string()
    .min(1)
    .optional()
    .describe("The kind of machine, as `stagex:prices` names it. Default: the builder's name."),
  tls: z
    .strictObject({ ca: file, cert: file, key: file, serverName: z.string().min(1).optional() })
    .optional()
    .describe("The files of the credentials, relative to the project."),
});
export type ConfiguredBuilder = z.infer<typeof configuredBuilder>;

/** The builders of the `static` fleet. Their names are unique. */
export const configuredBuilders = z
  .array(configuredBuilder)
  .min(1)
  .refine((builders) => new Set(builders.map(({ name }) => name)).size === builders.length, {
    error: "two builders have the same name",
  })
  .refine((builders) => builders.every(({ address, tls }) => !tls || address.startsWith("tcp://")), {
    error: "tls is for tcp:// addresses only; the others bring their own protection",
  });
