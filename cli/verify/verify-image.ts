import type { Digest } from "../../oci/digest.ts";
import { LayoutError } from "../../oci/layout-error.ts";
import {
  type ImageSource,
  imageInLayout,
  imageInRegistry,
  type ListedManifest,
  listManifests,
  type VerifiedAmount,
  verifyManifest,
} from "../../oci/registry/image-source.ts";
import { RegistryError } from "../../oci/registry/registry-error.ts";
import type { StatementKind } from "../../pipeline/statements/image-statement.ts";
import {
  describeVerdict,
  evaluateQuorum,
  type QuorumRule,
  type QuorumVerdict,
  type Trust,
} from "../../trust/quorum/quorum.ts";
import { parseTaggedReference, type TaggedReference } from "../../trust/signatures/image-reference.ts";
import type { Lookaside } from "../../trust/signatures/lookaside.ts";
import type { SignatureFile } from "../../trust/signatures/signature-file.ts";
import type { SignedStatements } from "../../trust/statements/signed-statements.ts";
import { TrustError } from "../../trust/trust-error.ts";
import { findStatementSigners, type StatementSigners } from "./statement-signers.ts";
import type { VerifyRequest } from "./verify-request.ts";

/** The result for the image of one platform. */
export type VerifyResult = {
  /** The image as the user named it. */
  readonly image: string;
  /** `repository:tag` that its signatures must name; null if verification stopped earlier. */
  readonly reference: TaggedReference | null;
  readonly digest: Digest | null;
  readonly platform: string | null;
  /** `unknown` means that the question could not be answered: it is neither a yes nor a no. */
  readonly answer: "met" | "not met" | "unknown";
  readonly quorum: QuorumVerdict | null;
  /** The amount that was read and hashed; null if nothing was. */
  readonly extent: VerifiedAmount | null;
  /**
   * The signers of the statements that were asked for; null if none were, or verification stopped
   * earlier.
   */
  readonly statements: readonly StatementSigners[] | null;
  /** The reason for `not met` and `unknown`. */
  readonly reason: string | null;
};

/** The settings that all images of a run are verified with. */
export type VerifySettings = {
  readonly lookaside: Lookaside;
  readonly trust: Trust;
  readonly rule: QuorumRule;
  /** Whether configs and layers are read and hashed too. */
  readonly blobs: boolean;
  /**
   * The kinds of statements that someone in the roster must have signed too, and their lookasides.
   */
  readonly statements: ReadonlyMap<StatementKind, SignedStatements>;
  /** Path of the registry client. */
  readonly registryClient: string;
  /** Registries that did not answer, and the reason. They are not asked again for each image. */
  readonly unreachable: Map<string, string>;
};

/**
 * Verifies one image, and returns a result for each of its platforms. Throws for internal errors
 * only.
 */
export async function verifyImage(
  request: VerifyRequest,
  inspector: VerifySettings,
): Promise<readonly VerifyResult[]> {
  const { source, image } = request;
  const host = "folder" in source ? "" : (source.repository.split("/", 1)[0] ?? "");
  const lost = inspector.unreachable.get(host);
  if (lost !== undefined) return [{ ...nothing(image), reason: `${host} is not asked again: ${lost}` }];
  const place =
    "folder" in source
      ? imageInLayout(source.folder)
      : imageInRegistry(source.repository, source.what, inspector.registryClient);
  let manifests: readonly ListedManifest[];
  try {
    manifests = await listManifests(place);
  } catch (error) {
    if (error instanceof RegistryError && error.problem === "unreachable")
      inspector.unreachable.set(host, error.message);
    // A missing tag says nothing about an image. A missing digest does: the caller was promised it.
    const isPromised = "what" in source && "digest" in source.what;
    return [{ ...nothing(image), ...failure(error, isPromised) }];
  }
  const verdicts: VerifyResult[] = [];
  for (const manifest of manifests) verdicts.push(await verdictOn(manifest, place, request, inspector));
  return verdicts;
}

async function verdictOn(
  manifest: ListedManifest,
  place: ImageSource,
  { image, signedAs, signedTag }: VerifyRequest,
  { lookaside, trust, rule, blobs, statements }: VerifySettings,
): Promise<VerifyResult> {
  const { digest, platform, version } = manifest;
  const so = { ...nothing(image), digest, platform };
  const reference = taggedAs(signedAs, signedTag ?? version);
  if (reference === undefined) {
    const lack = version === null ? "no version" : "a version that can be no tag";
    const reason = `its manifest names ${lack}, so its name in the signatures can't be known; ask for it as NAME:TAG@${digest}`;
    return { ...so, reason };
  }
  let evaluated: Pick<VerifyResult, "reference" | "quorum"> = { reference, quorum: null };
  try {
    const signatures: readonly SignatureFile[] = await lookaside.read(signedAs, digest);
    const verdict = await evaluateQuorum({ reference, digest }, signatures, trust, rule);
    evaluated = { reference, quorum: verdict };
    if (!verdict.met) {
      const answer = verdict.doubts.length > 0 ? "unknown" : "not met";
      return { ...so, ...evaluated, answer, reason: describeVerdict({ ...verdict, rejected: [] }, rule) };
    }
    const where = { repository: signedAs, manifest: digest, root: manifest.root };
    const said = statements.size === 0 ? null : await findStatementSigners(statements, trust, where);
    const unsaid = (said ?? []).filter((one) => one.said.length === 0).map(({ kind }) => kind);
    const found = { ...so, ...evaluated, statements: said };
    if (unsaid.length > 0) {
      const reason = `no one in the roster has signed its ${unsaid.join(" and ")}`;
      return { ...found, answer: "not met", reason };
    }
    const extent = blobs ? await verifyManifest(place, manifest) : null;
    return { ...found, answer: "met", extent };
  } catch (error) {
    return { ...so, ...evaluated, ...failure(error, true) };
  }
}

/**
 * Returns the name in an image's signatures; undefined if its own version, which may be any text,
 * is no tag.
 */
function taggedAs(repository: string, tag: string | null): TaggedReference | undefined {
  try {
    return tag === null ? undefined : parseTaggedReference(`${repository}:${tag}`);
  } catch {
    return undefined;
  }
}

function nothing(image: string): VerifyResult {
  return {
    image,
    reference: null,
    digest: null,
    platform: null,
    answer: "unknown",
    quorum: null,
    extent: null,
    statements: null,
    reason: null,
  };
}

/**
 * Wrong bytes, and bytes that are missing though a digest names them, are a no. A place that does
 * not answer is unknown.
 */
function failure(error: unknown, isPromised: boolean): Pick<VerifyResult, "answer" | "reason"> {
  if (error instanceof LayoutError) return { answer: "not met", reason: error.message };
  if (error instanceof RegistryError) {
    const isNo = error.problem === "wrong-bytes" || (isPromised && error.problem === "absent");
    return { answer: isNo ? "not met" : "unknown", reason: error.message };
  }
  if (error instanceof TrustError) return { answer: "unknown", reason: error.message };
  throw error;
}
