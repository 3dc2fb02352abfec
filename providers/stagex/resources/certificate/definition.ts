import { z } from "zod";
import { secretOutput } from "../../protocol/secret-outputs.ts";

const authority = z.string().min(1).describe("The authority's certificate, in PEM.");
const authorityKey = z.string().min(1).describe("The authority's key, in PEM. It must be secret.");
const commonName = z.string().min(1).max(64).describe("The name in the certificate, for people.");
const names = z.array(z.string().min(1)).describe("The DNS names and IP addresses of a server.");
const side = z.enum(["server", "client"]).describe("The side of a connection that it is for.");
const days = z.int().min(1).max(3650).describe("Days that it is valid, from its creation.");
const generation = z.int().describe("Any number. Another number replaces it.");

export const certificateInputs = z.strictObject({
  authority,
  authorityKey,
  commonName,
  names,
  side,
  days,
  generation,
});

export const certificateOutputs = z.strictObject({
  certificate: z.string().describe("The certificate, in PEM."),
  key: z.string().meta(secretOutput).describe("Its key, in PEM."),
});

/** The public side of `Certificate`. */
export const certificateDefinition = {
  token: "stagex:index:Certificate",
  description:
    "A key and its certificate, issued by an Authority for a builder (server) or its clients (client).",
  inputs: certificateInputs,
  outputs: certificateOutputs,
} as const;
