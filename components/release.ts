import { ComponentResource, type ComponentResourceOptions } from "@pulumi/pulumi";
import pLimit from "p-limit";
import type { Digest } from "../oci/digest.ts";
import type { PublicationInputs } from "../pipeline/publication/inputs.ts";
import { tagsOf } from "../pipeline/publication/tags.ts";
import { digestOfSignatures, type QuorumSubject } from "../pipeline/quorum/evaluate-quorum.ts";
import type { QuorumInputs } from "../pipeline/quorum/inputs.ts";
import { Publication } from "../providers/stagex/resources/publication/resource.ts";
import { Quorum } from "../providers/stagex/resources/quorum/resource.ts";
import { shortenQuorumFailure, silenceFailedOutputs } from "../pulumi-workarounds/dependency-failure.ts";
import type { Lookaside } from "../trust/signatures/lookaside.ts";
import { TrustError } from "../trust/trust-error.ts";

/** An image to release: its name, its version and its manifests. */
export type ReleaseImage = {
  readonly name: string;
  readonly version: string;
  /** The digest of the first platform's manifest. */
  readonly digest: Digest;
  /** The digest of each platform's manifest; more than one only if `index` is known too. */
  readonly digests: Readonly<Record<string, Digest>>;
  readonly index?: Digest;
};

export type ReleaseArgs = Pick<QuorumInputs, "roster" | "threshold" | "vendors" | "onPending" | "wait"> & {
  readonly images: readonly ReleaseImage[];
  /** The images' name in signatures: the part before `/<image>:<version>`. */
  readonly signedAs: string;
  /** The signatures. */
  readonly lookaside: Lookaside;
  /** The destination of images at quorum. Default: none. */
  readonly publish?: ReleaseDestination;
};

/** The destination of a release. */
export type ReleaseDestination = Pick<PublicationInputs, "destinations" | "lookaside"> & {
  /**
   * The release's name, `2026.03.0`, for the tag `sx2026.03.0`. Without it there is no such tag.
   */
  readonly release?: string;
};

/**
 * The images of a release. Each is published as soon as enough maintainers have signed it,
 * independently of the others.
 */
export class Release extends ComponentResource {
  readonly quorums: ReadonlyMap<string, Quorum>;
  readonly publications: ReadonlyMap<string, Publication>;

  constructor(name: string, args: ReleaseArgs, options?: ComponentResourceOptions) {
    super("stagex:index:Release", name, {}, options);
    const several = pLimit(16);
    const held = (subject: QuorumSubject) => several(() => heldSignatures(subject, args.lookaside));
    const quorums = new Map<string, Quorum>();
    const publications = new Map<string, Publication>();
    for (const image of args.images) {
      const quorum = this.#quorum(image, args, held);
      quorums.set(image.name, quorum);
      if (args.publish === undefined) continue;
      publications.set(image.name, this.#publication(image, quorum, args.signedAs, args.publish));
    }
    this.quorums = quorums;
    this.publications = publications;
    this.registerOutputs({});
  }

  #quorum(
    image: ReleaseImage,
    { roster, threshold, vendors, onPending, wait, signedAs }: ReleaseArgs,
    held: (subject: QuorumSubject) => Promise<Digest | undefined>,
  ): Quorum {
    const { name, digest, digests } = image;
    const subject = { reference: referenceOf(image, signedAs), digest, digests };
    const quorum = new Quorum(
      name,
      {
        image: name,
        reference: subject.reference,
        digest,
        ...(isSingle(image) ? {} : { digests: { ...digests } }),
        signatures: held(subject) as Promise<Digest>,
        ...{ roster, threshold, vendors, onPending },
        ...(wait === undefined ? {} : { wait }),
      },
      { parent: this },
    );
    silenceFailedOutputs(quorum);
    return quorum;
  }

  #publication(
    image: ReleaseImage,
    quorum: Quorum,
    signedAs: string,
    { destinations, lookaside, release }: ReleaseDestination,
  ): Publication {
    const { name, version, digest, digests, index } = image;
    const publication = new Publication(
      name,
      {
        image: name,
        reference: referenceOf(image, signedAs),
        tags: tagsOf(version, release),
        digest,
        ...(isSingle(image) || index === undefined ? {} : { digests: { ...digests }, index }),
        quorum: { met: shortenQuorumFailure(quorum.met), accepted: shortenQuorumFailure(quorum.accepted) },
        destinations,
        ...(lookaside === undefined ? {} : { lookaside }),
      },
      { parent: this },
    );
    silenceFailedOutputs(publication);
    return publication;
  }
}

function referenceOf({ name, version }: ReleaseImage, signedAs: string): string {
  return `${signedAs}/${name}:${version}`;
}

/** Reports whether an image has one platform: then its manifest is published, and no index. */
function isSingle({ digests }: ReleaseImage): boolean {
  return Object.keys(digests).length === 1;
}

/**
 * Returns undefined if the signatures cannot be read: the quorum reads them again, and fails for
 * that image only, with the reason.
 */
async function heldSignatures(subject: QuorumSubject, lookaside: Lookaside): Promise<Digest | undefined> {
  try {
    return await digestOfSignatures(subject, lookaside);
  } catch (error) {
    if (error instanceof TrustError) return undefined;
    throw error;
  }
}
