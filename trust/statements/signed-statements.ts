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

/** Selects the statements of one kind about an image. */
export type StatementQuery = {
  readonly repository: Repository;
  /**
   * The manifest or index that the statement is stored under: usually what the image's tags point
   * at.
   */
  readonly digest: Digest;
  readonly predicateType: string;
};

/** A valid signed statement, with its file and bytes. */
export type StoredStatement = VerifiedStatement & { readonly file: string; readonly message: Uint8Array };

/**
 * The signed statements of one kind in a lookaside. They are in `statements/`, in the same layout
 * as signatures but apart from them: StageX's own scripts count all files in an image's folder of
 * signatures.
 */
export class SignedStatements {
  readonly #lookaside: Lookaside;

  /** @param lookaside address of the lookaside with the signatures */
  constructor(lookaside: string, kind: Exclude<FileKind, "signature">) {
    this.#lookaside = createLookaside(`${lookaside.replace(/(?<!\/)\/+$/, "")}/statements`, kind);
  }

  /**
   * Reads the valid statements by people in the roster.
   * @throws TrustError if they can't be known
   */
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

  /** Reads the valid statements with exactly this content. */
  async readMatching(
    about: StatementQuery,
    statement: Uint8Array,
    trust: Trust,
  ): Promise<readonly StoredStatement[]> {
    const held = await this.read(about, trust);
    return held.filter(({ content }) => Buffer.compare(content, statement) === 0);
  }

  /** A lookaside without any statement has no such folder. */
  async #files(repository: Repository, digest: Digest): Promise<readonly SignatureFile[]> {
    const lookaside = this.#lookaside;
    if (lookaside instanceof LookasideFolder && !existsSync(lookaside.folder)) return [];
    return await lookaside.read(repository, digest);
  }

  /**
   * Writes a signed statement. Bytes that are there already are not written again.
   * @param more further digests of the image to store it under: clients that pull one platform look
   * under its manifest, not the index
   * @returns the name of the file
   * @throws TrustError if it would not be valid
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
