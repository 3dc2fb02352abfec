import { z } from "zod";
import { type Digest, isDigest } from "../../oci/digest.ts";
import { quoteUntrusted, SignatureRejection } from "../openpgp/signature-rejection.ts";
import { parseTaggedReference, type TaggedReference } from "./image-reference.ts";
import { parseStrictJson } from "./strict-json.ts";

/**
 * A maintainer's claim about the machine that built the image. It is in the payload's `optional`,
 * so it is signed; podman and other clients ignore it.
 */
export type BuilderClaim = {
  /** As in OCI platforms: amd64, arm64. */
  readonly arch?: string;
  /** Vendor of the CPU, as the kernel names it: AuthenticAMD, GenuineIntel. */
  readonly cpuVendor?: string;
  readonly cpuModel?: string;
  /** Release of the kernel. */
  readonly kernel?: string;
  /** Version of BuildKit. */
  readonly buildkit?: string;
  /** Version of Go that BuildKit was built with: its gzip decides the bytes of layers. */
  readonly go?: string;
};

/**
 * The signed statement that a tag of a repository is this manifest (containers/image,
 * docs/containers-signature.5.md).
 */
export type SigningPayload = {
  readonly reference: TaggedReference;
  readonly digest: Digest;
  /** The program that made the signature. */
  readonly creator?: string;
  /** The time, in whole seconds since 1970. */
  readonly timestamp?: number;
  readonly builder: BuilderClaim;
};

/** The only type in the format. */
const signatureType = "atomic container signature";

/** The most bytes of a payload. Real ones have some hundreds; StageX's about 250. */
export const maxPayloadSize = 64 * 1024;

const fact = z.string().min(1).max(200);

const payloadSchema = z.strictObject({
  critical: z.strictObject({
    type: z.literal(signatureType),
    image: z.strictObject({ "docker-manifest-digest": z.string() }),
    identity: z.strictObject({ "docker-reference": z.string() }),
  }),
  // By the format, unknown members are allowed here and nowhere else.
  optional: z.looseObject({
    creator: z.string().max(1000).optional(),
    timestamp: z.int().optional(),
    arch: fact.optional(),
    cpuVendor: fact.optional(),
    cpuModel: fact.optional(),
    kernel: fact.optional(),
    buildkit: fact.optional(),
    go: fact.optional(),
  }),
});

/**
 * A payload to write. The reference stays as given, since StageX writes it without the registry's
 * host.
 */
export type NewPayload = Omit<SigningPayload, "reference"> & { readonly reference: string };

/**
 * Serializes a payload with sorted members and without white space, so that equal payloads have
 * equal bytes.
 */
export function serializePayload({ reference, digest, creator, timestamp, builder }: NewPayload): Uint8Array {
  parseTaggedReference(reference);
  const payload = payloadSchema.parse({
    critical: {
      type: signatureType,
      image: { "docker-manifest-digest": digest },
      identity: { "docker-reference": reference },
    },
    optional: { ...builder, creator, timestamp },
  });
  return new TextEncoder().encode(JSON.stringify(sortMembers(payload)));
}

/**
 * Parses a payload strictly.
 * @throws SignatureRejection for anything that is not exactly in the format
 */
export function parsePayload(bytes: Uint8Array): SigningPayload {
  const parsed = payloadSchema.safeParse(parseStrictJson(bytes, maxPayloadSize));
  if (!parsed.success)
    throw new SignatureRejection(
      "payload-members",
      `the payload is not as the format has it: ${describeIssue(parsed.error)}`,
    );
  const { critical, optional } = parsed.data;
  const digest = critical.image["docker-manifest-digest"];
  if (!isDigest(digest)) {
    throw new SignatureRejection(
      "payload-members",
      `the payload's docker-manifest-digest is no digest: ${quoteUntrusted(digest)}`,
    );
  }
  const { creator, timestamp, arch, cpuVendor, cpuModel, kernel, buildkit, go } = optional;
  return {
    reference: requireReference(critical.identity["docker-reference"]),
    digest,
    ...withoutUndefined({ creator, timestamp }),
    builder: withoutUndefined({ arch, cpuVendor, cpuModel, kernel, buildkit, go }),
  };
}

function requireReference(text: string): TaggedReference {
  try {
    return parseTaggedReference(text);
  } catch (error) {
    throw new SignatureRejection(
      "payload-members",
      `the payload's docker-reference: ${(error as Error).message}`,
    );
  }
}

function describeIssue(error: z.ZodError): string {
  const [first] = error.issues;
  const where = first === undefined || first.path.length === 0 ? "" : `${first.path.map(String).join(".")}: `;
  return quoteUntrusted(`${where}${first?.message ?? "unknown"}`).slice(1, -1);
}

/** Returns the members without those that are undefined. */
function withoutUndefined<T extends object>(members: T): { [Name in keyof T]?: Exclude<T[Name], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as {
    [Name in keyof T]?: Exclude<T[Name], undefined>;
  };
}

function sortMembers(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortMembers);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, member]) => [name, sortMembers(member)]),
  );
}
