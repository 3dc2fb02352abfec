import { z } from "zod";
import { loneBuilder } from "../pipeline/fleet/builder-connection.ts";
import { awsBuilderNames } from "./aws-fleet.ts";
import { type BuilderInputs, builderInputs } from "./builder.ts";
import type { StagexConfig } from "./schema.ts";

const file = z.string().min(1);

/** A builder of the `static` fleet, as `stagex:builders` lists them. */
export const configuredBuilder = builderInputs.omit({ tls: true, memory: true }).extend({
  memory: z
    .number()
    .positive()
    .optional()
    .describe("GiB of memory for all its builds together; not counted where not given."),
  machine: z
    .string()
    .min(1)
    .optional()
    .describe("What kind of machine it is, as `stagex:prices` names it; its own name where not given."),
  tls: z
    .strictObject({ ca: file, cert: file, key: file, serverName: z.string().min(1).optional() })
    .optional()
    .describe("Files with the credentials, relative to the project."),
});
export type ConfiguredBuilder = z.infer<typeof configuredBuilder>;

/** All of them, each with a name of its own. */
export const configuredBuilders = z
  .array(configuredBuilder)
  .min(1)
  .refine((builders) => new Set(builders.map(({ name }) => name)).size === builders.length, {
    error: "two builders have the same name",
  })
  .refine((builders) => builders.every(({ address, tls }) => !tls || address.startsWith("tcp://")), {
    error: "tls is for tcp:// addresses alone; the others bring their own protection",
  });

/** Names of the private daemons of a `local` fleet: `local-1`, `local-2`. */
export function localBuilderNames(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `local-${index + 1}`);
}

/** The builders that the program of this configuration registers; or, where it registers none, the one to build with. */
export function expectedBuilders(config: StagexConfig): readonly string[] | BuilderInputs {
  const names = [
    ...(config.builders ?? []).map(({ name }) => name),
    ...localBuilderNames(config.localBuilders ?? 0),
    ...(config.aws ? awsBuilderNames(config.aws) : []),
  ];
  return names.length > 0 ? names : loneBuilder(config.buildkit);
}
