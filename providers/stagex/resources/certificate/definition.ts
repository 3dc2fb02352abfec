import { z } from "zod";
import { secretOutput } from "../../protocol/secret-outputs.ts";

const authority = z.string().min(1).describe("The authority's certificate, PEM.");
const authorityKey = z.string().min(1).describe("The authority's key, PEM; has to be secret.");
const commonName = z.string().min(1).max(64).describe("Its name, for people who read it.");
const names = z.array(z.string().min(1)).describe("DNS names and IP addresses that a server is reached by.");
const side = z.enum(["server", "client"]).describe("Which side of a connection it is good for.");
const days = z.int().min(1).max(3650).describe("For how long it is good, from the day it is made.");
const generation = z.int().describe("Any number; with another one it is made anew.");

export const certificateInputs = z.strictObject({
  authority,
  authorityKey,
  commonName,
  names,
  side,
  days,
  generation,
});
export type CertificateInputs = z.infer<typeof certificateInputs>;

export const certificateOutputs = z.strictObject({
  certificate: z.string().describe("The certificate, PEM."),
  key: z.string().meta(secretOutput).describe("Its key, PEM."),
});
export type CertificateOutputs = z.infer<typeof certificateOutputs>;

/** The public side of `Certificate`. */
export const certificateDefinition = {
  token: "stagex:index:Certificate",
  description:
    "A key and its certificate, issued by an Authority for a builder (server) or its clients (client).",
  inputs: certificateInputs,
  outputs: certificateOutputs,
} as const;
