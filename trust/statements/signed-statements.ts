import { existsSync } from "node:fs";
import type { Digest } from "../../oci/digest.ts";
import { SignatureRejection } from "../openpgp/signature-rejection.ts";
import type { Trust } from "../quorum/quorum.ts";
import type { Repository } from "../signatures/image-reference.ts";
import { createLookaside, type Lookaside } from "../signatures/lookaside.ts";
import { LookasideFolder } from "../signatures/lookaside-folder.ts";
import type { FileKind, SignatureFile } from "../signatures/signature-file.ts";
import { TrustError } from "../trust-error.ts";
import { type VerifiedStatement, verifyStatement } from "./statement.ts";

/** Whose statement it is, and that it is about this image. */
export type StatementQuery = {
  readonly repository: Repository;
  /** What the statement lies beside: what the image's tags point at. */
  readonly digest: Digest;
  readonly predicateType: string;
};

/** One signed statement that holds, and its bytes. */
export type StoredStatement = VerifiedStatement & { readonly file: string; readonly message: Uint8Array };

/**
 * Signed statements of one kind, in a lookaside. They are in `statements/`, laid out as the signatures are but not among them: StageX's
 * own scripts count all files that lie beside an image's signatures.
 */
export class SignedStatements {
  readonly #lookaside: Lookaside;

  /** @param lookaside address of the lookaside that has the signatures */
  constructor(lookaside: string, kind: Exclude<FileKind, "signature">) {
    this.#lookaside = createLookaside(`${lookaside.replace(/(?<!\/)\/+$/, "")}/statements`, kind);
  }

  /** Those that hold, by people of the roster. @throws TrustError where it can't be known */
  async read({ repository, ...about }: StatementQuery, trust: Trust): Promise<readonly StoredStatement[]> {
    const held: StoredStatement[] = [];
    for (const one of await this.#files(repository, about.digest)) {
      if (!("bytes" in one)) continue;
      try {
        const verified = await verifyStatement(one.bytes, about, trust);
        held.push({ ...verified, file: one.file, message: one.bytes });
      } catch (error) {
        if (!(error instanceof SignatureRejection)) throw error;
      }
    }
    return held;
  }

  /** Of those that hold, the ones that say exactly this. */
  async readMatching(
    about: StatementQuery,
    statement: Uint8Array,
    trust: Trust,
  ): Promise<readonly StoredStatement[]> {
    const held = await this.read(about, trust);
    return held.filter(({ content }) => Buffer.compare(content, statement) === 0);
  }

  /** A lookaside in which nothing was ever said has no such folder. */
  async #files(repository: Repository, digest: Digest): Promise<readonly SignatureFile[]> {
    const lookaside = this.#lookaside;
    if (lookaside instanceof LookasideFolder && !existsSync(lookaside.folder)) return [];
    return await lookaside.read(repository, digest);
  }

  /**
   * Files a signed statement; bytes that are there already are not written again.
   * @param more what else of the image it is filed under: whoever asks by one platform's manifest looks there, and not below the index
   * @returns its name
   * @throws TrustError where it would not hold
   */
  async write(
    about: StatementQuery,
    message: Uint8Array,
    trust: Trust,
    more: readonly Digest[] = [],
  ): Promise<string> {
    const lookaside = this.#lookaside;
    if (!(lookaside instanceof LookasideFolder))
      throw new TrustError("the lookaside is not a folder, and no statement can be written there");
    const { repository, predicateType } = about;
    const file = (digest: Digest) => lookaside.write(repository, digest, message);
    for (const digest of new Set([about.digest, ...more])) {
      await verifyStatement(message, { digest, predicateType }, trust).catch((error: unknown) => {
        if (!(error instanceof SignatureRejection)) throw error;
        throw new TrustError(`the signed statement would not count: ${error.message}`);
      });
      if (digest !== about.digest) await file(digest);
    }
    return await file(about.digest);
  }
}
