import { ComponentResource, type ComponentResourceOptions } from "@pulumi/pulumi";
import pLimit from "p-limit";
import type { Digest } from "../oci/digest.ts";
import type { QuorumInputs } from "../providers/stagex/quorum/inputs.ts";
import { digestOfSignatures, type Subject } from "../providers/stagex/quorum/judgement.ts";
import { Quorum } from "../providers/stagex/quorum/resource.ts";
import type { Lookaside } from "../trust/lookaside.ts";
import { TrustError } from "../trust/trust-error.ts";
import { leaveFailureToEngine } from "./not-built.ts";

/** What is released: an image by name and version, and its manifests. */
export type ReleaseImage = {
  readonly name: string;
  readonly version: string;
  readonly digest: Digest;
  readonly digests: Readonly<Record<string, Digest>>;
  readonly index?: Digest;
};

export type ReleaseArgs = Pick<QuorumInputs, "roster" | "threshold" | "vendors" | "onPending" | "wait"> & {
  readonly images: readonly ReleaseImage[];
  /** What stands before `/<image>:<version>` in what is signed. */
  readonly signedAs: string;
  /** Where the signatures are. */
  readonly lookaside: Lookaside;
};

/** The images of a release, each on its own: what enough maintainers have signed is published, whatever becomes of the others. */
export class Release extends ComponentResource {
  readonly quorums: ReadonlyMap<string, Quorum>;

  constructor(name: string, args: ReleaseArgs, options?: ComponentResourceOptions) {
    super("stagex:index:Release", name, {}, options);
    const several = pLimit(16);
    const held = (subject: Subject) => several(() => heldSignatures(subject, args.lookaside));
    this.quorums = new Map(args.images.map((image) => [image.name, this.#quorum(image, args, held)]));
    this.registerOutputs({});
  }

  #quorum(
    image: ReleaseImage,
    { roster, threshold, vendors, onPending, wait, signedAs }: ReleaseArgs,
    held: (subject: Subject) => Promise<Digest | undefined>,
  ): Quorum {
    const { name, version, digest, digests } = image;
    const subject = { reference: `${signedAs}/${name}:${version}`, digest, digests };
    const isSingle = Object.keys(digests).length === 1;
    const quorum = new Quorum(
      name,
      {
        image: name,
        reference: subject.reference,
        digest,
        ...(isSingle ? {} : { digests: { ...digests } }),
        signatures: held(subject) as Promise<Digest>,
        ...{ roster, threshold, vendors, onPending },
        ...(wait === undefined ? {} : { wait }),
      },
      { parent: this },
    );
    leaveFailureToEngine(quorum);
    return quorum;
  }
}

/** Nothing where it can't be told: the quorum asks again, and fails for that image alone, with what is wrong. */
async function heldSignatures(subject: Subject, lookaside: Lookaside): Promise<Digest | undefined> {
  try {
    return await digestOfSignatures(subject, lookaside);
  } catch (error) {
    if (error instanceof TrustError) return undefined;
    throw error;
  }
}
