import { z } from "zod";
import { platform } from "./property-schemas.ts";

const name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,30}$/, {
    error: "expected 1 to 31 of a-z, 0-9 and '-', beginning with a letter or digit",
  })
  .describe("The builder's name, unique in the fleet.");
const address = z
  .string()
  .regex(/^(unix|tcp|docker-container|kube-pod|ssh):\/\/.|^private:\d{1,3}$/, {
    error:
      "not an address (expected an address for buildctl: unix://…, tcp://…, docker-container://…, kube-pod://…, ssh://…; or private:1 for a daemon of the state folder's own)",
  })
  .describe(
    "The daemon's address, as buildctl takes it; or `private:1` and so on, for a daemon of the state folder's own, which is started on demand.",
  );
const platforms = z
  .array(platform)
  .min(1)
  .describe("The platforms it builds, its own first. Default: those that the daemon reports.");
const slots = z.int().min(1).max(1000).describe("The number of images it builds at once.");
const memory = z
  .number()
  .positive()
  .describe("Bytes of memory for all its builds together. Default: memory is not counted.");
const vendor = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/)
  .describe(
    "The vendor of its CPU, such as AuthenticAMD, if you know better than what it reports. Recorded as declared.",
  );
const tls = z
  .strictObject({
    ca: z.string().min(1).describe("The certificate of the authority that signed the builder's, in PEM."),
    certificate: z.string().min(1).describe("The client's certificate, in PEM."),
    key: z.string().min(1).describe("The client's key, in PEM."),
    serverName: z.string().min(1).optional().describe("The name to expect in the builder's certificate."),
  })
  .describe("Credentials for mutual TLS, for tcp:// only. They are in files only while they are used.");
const wait = z.number().min(0).max(3600).describe("Seconds to wait until it answers. Default: 60.");

/** The inputs of a builder. */
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

/** The outputs of a builder: what its daemon and machine report. */
export const builderOutputs = z.strictObject({
  witness: z.string().describe("The builder's id in the ledger."),
  platforms: z
    .array(platform)
    .min(1)
    .describe("The platforms it builds, its own first, emulated ones included."),
  buildkit: z.string().describe("BuildKit's version."),
  arch: z.string().describe("The architecture, as in OCI platforms: amd64, arm64."),
  vendor: z.string().describe("The vendor of its CPU; `unknown` if it could not be determined."),
  vendorSource: z
    .enum(["cpuinfo", "probe", "declared", "unknown"])
    .describe(
      "The source of the vendor: this machine's kernel (cpuinfo), a program that the builder ran (probe), the configuration (declared), or none.",
    ),
  kernel: z.string().describe("The release of its kernel."),
});
export type BuilderOutputs = z.infer<typeof builderOutputs>;
