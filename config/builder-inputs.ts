import { z } from "zod";
import { platform } from "./property-schemas.ts";

const name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,30}$/, {
    error: "1 to 31 of a-z, 0-9 and '-', beginning with a letter or digit",
  })
  .describe("Its own in the fleet.");
const address = z
  .string()
  .regex(/^(unix|tcp|docker-container|kube-pod|ssh):\/\/.|^private:\d{1,3}$/, {
    error:
      "no address (expected what buildctl takes: unix://…, tcp://…, docker-container://…, kube-pod://…, ssh://…; or private:1 for a daemon of the state folder's own)",
  })
  .describe(
    "Where it is: whatever buildctl takes; or `private:1` and so on, a daemon of this state folder's own, started when it is needed.",
  );
const platforms = z
  .array(platform)
  .min(1)
  .describe("What it builds, its own platform first; what it says itself where not given.");
const slots = z.int().min(1).max(1000).describe("How many images it builds at once.");
const memory = z
  .number()
  .positive()
  .describe("Bytes of memory for all its builds together; not counted where not given.");
const vendor = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/)
  .describe(
    "Who made its CPU, such as AuthenticAMD, where you know better than what it shows. Noted as declared.",
  );
const tls = z
  .strictObject({
    ca: z.string().min(1).describe("Certificate of the authority that signed the builder's, PEM."),
    certificate: z.string().min(1).describe("Our certificate, PEM."),
    key: z.string().min(1).describe("Its key, PEM."),
    serverName: z.string().min(1).optional().describe("The name to expect in the builder's certificate."),
  })
  .describe("Mutual TLS, for tcp:// alone. Written to files only while it is used.");
const wait = z.number().min(0).max(3600).describe("Seconds to wait until it answers. Default 60.");

/** What the program says of a builder. */
export const builderInputs = z.strictObject({
  name,
  address,
  platforms: platforms.optional(),
  slots: slots.optional(),
  memory: memory.optional(),
  vendor: vendor.optional(),
  tls: tls.optional(),
  wait: wait.optional(),
});
export type BuilderInputs = z.infer<typeof builderInputs>;

/** What was learned of it. */
export const builderOutputs = z.strictObject({
  witness: z.string().describe("What the ledger calls it."),
  platforms: z
    .array(platform)
    .min(1)
    .describe("What it builds, its own platform first, emulated ones included."),
  buildkit: z.string().describe("BuildKit's version."),
  arch: z.string().describe("As in OCI platforms: amd64, arm64."),
  vendor: z.string().describe("Who made its CPU; `unknown` where that could not be learned."),
  vendorSource: z
    .enum(["cpuinfo", "probe", "declared", "unknown"])
    .describe(
      "How that was learned: from this machine's kernel, by a program that the builder ran, from who configured it, or not.",
    ),
  kernel: z.string().describe("Its kernel's release."),
});
export type BuilderOutputs = z.infer<typeof builderOutputs>;
