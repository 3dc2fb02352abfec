import { z } from "zod";
import { secretOutput } from "../../protocol/secret-outputs.ts";

const commonName = z.string().min(1).max(64).describe("The name in its certificate, for people.");
const days = z.int().min(1).max(3650).describe("Days that it is valid, from its creation.");
const generation = z.int().describe("Any number. Another number replaces it.");

export const authorityInputs = z.strictObject({ commonName, days, generation });

export const authorityOutputs = z.strictObject({
  certificate: z.string().describe("Its certificate, in PEM, which both sides of a connection trust."),
  key: z.string().meta(secretOutput).describe("Its key, in PEM."),
});

/** The public side of `Authority`. */
export const authorityDefinition = {
  token: "stagex:index:Authority",
  description:
    "The certificate authority of one fleet. It exists only in the stack's state, where its key is a secret.",
  inputs: authorityInputs,
  outputs: authorityOutputs,
} as const;
