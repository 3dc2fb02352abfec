import type { Digest } from "../../oci/digest.ts";
import { LayoutError } from "../../oci/layout-error.ts";
import {
  type Extent,
  type ImagePlace,
  inLayout,
  inRegistry,
  manifestsAt,
  type PlacedManifest,
  readThrough,
} from "../../oci/registry/image-source.ts";
import { RegistryError } from "../../oci/registry/registry-error.ts";
import type { StatementKind } from "../../pipeline/statements/image-statement.ts";
import {
  judge,
  type QuorumOutcome,
  type QuorumRule,
  type Trust,
  wordsOf,
} from "../../trust/quorum/quorum.ts";
import { parseTagged, type TaggedReference } from "../../trust/signatures/image-reference.ts";
import type { Lookaside, SignatureFile } from "../../trust/signatures/lookaside.ts";
import type { SignedStatements } from "../../trust/statements/signed-statements.ts";
import { TrustError } from "../../trust/trust-error.ts";
import type { Request } from "./request.ts";
import { type SaidOfImage, saidOf } from "./statements.ts";

/** What came of one platform's image. */
export type Verdict = {
  /** As it was asked for. */
  readonly image: string;
  /** `repository:tag` that its signatures must name; null where it did not get that far. */
  readonly reference: TaggedReference | null;
  readonly digest: Digest | null;
  readonly platform: string | null;
  /** `unknown` where the question could not be answered: nobody may take that for a yes or a no. */
  readonly answer: "met" | "not met" | "unknown";
  readonly outcome: QuorumOutcome | null;
  /** What was read and hashed; null where nothing was. */
  readonly extent: Extent | null;
  /** Who said how it was built and what it is made of; null where that was not asked, or it did not get that far. */
  readonly statements: readonly SaidOfImage[] | null;
  /** Why it is not met, or not known. */
  readonly reason: string | null;
};

/** What all images are held against. */
export type Inspector = {
  readonly lookaside: Lookaside;
  readonly trust: Trust;
  readonly rule: QuorumRule;
  /** Whether config and layers are read and hashed too. */
  readonly blobs: boolean;
  /** The kinds of statements that somebody of the roster must have signed too, and where they are. */
  readonly statements: ReadonlyMap<StatementKind, SignedStatements>;
  /** Path of the registry client. */
  readonly registryClient: string;
  /** Registries that did not answer, and why: they are not waited for once for each image. */
  readonly lost: Map<string, string>;
};

/** Verifies one image: a verdict for each of its platforms, all of which must be met. Throws for defects of ours only. */
export async function inspect(request: Request, inspector: Inspector): Promise<readonly Verdict[]> {
  const { place: at, image } = request;
  const host = "folder" in at ? "" : (at.repository.split("/", 1)[0] ?? "");
  const lost = inspector.lost.get(host);
  if (lost !== undefined) return [{ ...nothing(image), reason: `${host} is not asked again: ${lost}` }];
  const place =
    "folder" in at ? inLayout(at.folder) : inRegistry(at.repository, at.what, inspector.registryClient);
  let manifests: readonly PlacedManifest[];
  try {
    manifests = await manifestsAt(place);
  } catch (error) {
    if (error instanceof RegistryError && error.problem === "unreachable")
      inspector.lost.set(host, error.message);
    // A tag that is not there is no answer about an image; a digest that was promised and is not there is one.
    const isPromised = "what" in at && "digest" in at.what;
    return [{ ...nothing(image), ...failure(error, isPromised) }];
  }
  const verdicts: Verdict[] = [];
  for (const manifest of manifests) verdicts.push(await verdictOn(manifest, place, request, inspector));
  return verdicts;
}

async function verdictOn(
  manifest: PlacedManifest,
  place: ImagePlace,
  { image, signedAs, signedTag }: Request,
  { lookaside, trust, rule, blobs, statements }: Inspector,
): Promise<Verdict> {
  const { digest, platform, version } = manifest;
  const so = { ...nothing(image), digest, platform };
  const reference = taggedAs(signedAs, signedTag ?? version);
  if (reference === undefined) {
    const lack = version === null ? "no version" : "a version that can be no tag";
    const reason = `its manifest names ${lack}, so it can't be known as what it is signed; ask for it as NAME:TAG@${digest}`;
    return { ...so, reason };
  }
  let judged: Pick<Verdict, "reference" | "outcome"> = { reference, outcome: null };
  try {
    const signatures: readonly SignatureFile[] = await lookaside.read(signedAs, digest);
    const outcome = await judge({ reference, digest }, signatures, trust, rule);
    judged = { reference, outcome };
    if (!outcome.met) {
      const answer = outcome.doubts.length > 0 ? "unknown" : "not met";
      return { ...so, ...judged, answer, reason: wordsOf({ ...outcome, rejected: [] }, rule) };
    }
    const where = { repository: signedAs, manifest: digest, root: manifest.root };
    const said = statements.size === 0 ? null : await saidOf(statements, trust, where);
    const unsaid = (said ?? []).filter((one) => one.said.length === 0).map(({ kind }) => kind);
    const found = { ...so, ...judged, statements: said };
    if (unsaid.length > 0) {
      const reason = `nobody of the roster has signed its ${unsaid.join(" and ")}`;
      return { ...found, answer: "not met", reason };
    }
    const extent = blobs ? await readThrough(place, manifest) : null;
    return { ...found, answer: "met", extent };
  } catch (error) {
    return { ...so, ...judged, ...failure(error, true) };
  }
}

/** As what an image is signed; undefined where its own version, which may be any text, does not tell. */
function taggedAs(repository: string, tag: string | null): TaggedReference | undefined {
  try {
    return tag === null ? undefined : parseTagged(`${repository}:${tag}`);
  } catch {
    return undefined;
  }
}

function nothing(image: string): Verdict {
  return {
    image,
    reference: null,
    digest: null,
    platform: null,
    answer: "unknown",
    outcome: null,
    extent: null,
    statements: null,
    reason: null,
  };
}

/** Wrong bytes, and bytes that are missing though a digest promises them, are a no; a place that does not answer is none. */
function failure(error: unknown, isPromised: boolean): Pick<Verdict, "answer" | "reason"> {
  if (error instanceof LayoutError) return { answer: "not met", reason: error.message };
  if (error instanceof RegistryError) {
    const isNo = error.problem === "wrong-bytes" || (isPromised && error.problem === "absent");
    return { answer: isNo ? "not met" : "unknown", reason: error.message };
  }
  if (error instanceof TrustError) return { answer: "unknown", reason: error.message };
  throw error;
}
