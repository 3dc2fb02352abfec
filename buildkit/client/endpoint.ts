import { z } from "zod";

const schemes = ["unix", "tcp", "docker-container", "ssh", "kube-pod"] as const;

const address = z
  .string()
  .refine(
    (text) => schemes.some((scheme) => text.startsWith(`${scheme}://`) && text.length > scheme.length + 3),
    {
      error: (issue) =>
        `${JSON.stringify(String(issue.input).slice(0, 200))} is not a BuildKit address (expected one of ${schemes.map((s) => `${s}://…`).join(", ")})`,
    },
  );

const tls = z.strictObject({
  ca: z.string().min(1).describe("file of the certificate authority that signed the server's certificate"),
  cert: z.string().min(1).describe("file of our certificate"),
  key: z.string().min(1).describe("file of its key"),
  serverName: z.string().min(1).optional().describe("name to expect in the server's certificate"),
});

const endpointSchema = z
  .strictObject({ address, buildctl: z.string().min(1), tls: tls.optional() })
  .refine((endpoint) => endpoint.tls === undefined || endpoint.address.startsWith("tcp://"), {
    path: ["tls"],
    message: "only a tcp:// address has TLS; the others bring their own protection",
  });

/**
 * The address of a BuildKit daemon, and the path of the `buildctl` that talks to it. Made by
 * {@link parseEndpoint}.
 */
export type Endpoint = z.infer<typeof endpointSchema>;

/**
 * Parses an endpoint.
 * @throws Error that names every wrong field, its value, and the allowed ones
 */
export function parseEndpoint(input: unknown): Endpoint {
  const parsed = endpointSchema.safeParse(input);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(
    (issue) => `${issue.path.join(".") || "endpoint"}: ${issue.message}`,
  );
  throw new Error(`not a BuildKit endpoint: ${problems.join("; ")}`);
}

/** Returns buildctl's global options for this endpoint; they come before the command. */
export function connectionArguments(endpoint: Endpoint): string[] {
  const { tls } = endpoint;
  return [
    ...["--addr", endpoint.address],
    ...(tls ? ["--tlscacert", tls.ca, "--tlscert", tls.cert, "--tlskey", tls.key] : []),
    ...(tls?.serverName ? ["--tlsservername", tls.serverName] : []),
  ];
}
