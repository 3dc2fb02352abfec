import { z } from "zod";
import { secretOutput } from "../../protocol/secret-outputs.ts";

const commonName = z.string().min(1).max(64).describe("Its name, for people who read a certificate.");
const days = z.int().min(1).max(3650).describe("For how long it is good, from the day it is made.");
const generation = z.int().describe("Any number; with another one it is made anew.");

export const authorityInputs = z.strictObject({ commonName, days, generation });
export type AuthorityInputs = z.infer<typeof authorityInputs>;

export const authorityOutputs = z.strictObject({
  certificate: z.string().describe("Its certificate, PEM: what both sides of a connection trust."),
  key: z.string().meta(secretOutput).describe("Its key, PEM."),
});
export type AuthorityOutputs = z.infer<typeof authorityOutputs>;

/** The public side of `Authority`. */
export const authorityDefinition = {
  token: "stagex:index:Authority",
  description:
    "The certificate authority of one fleet. It exists only in the stack's state, where its key is a secret.",
  inputs: authorityInputs,
  outputs: authorityOutputs,
} as const;
