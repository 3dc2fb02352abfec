import { stat } from "node:fs/promises";
import type { Digest } from "../oci/digest.ts";
import type { Repository } from "./image-reference.ts";
import { type FileKind, LookasideFolder, lookasideAt, type SignatureFile } from "./lookaside.ts";
import type { Trust } from "./quorum.ts";
import { Rejection } from "./rejection.ts";
import { type VerifiedStatement, verifyStatement } from "./statement.ts";
import { TrustError } from "./trust-error.ts";

/** Whose statement it is, and that it is about this image. */
export type About = {
  readonly repository: Repository;
  /** What the statement lies beside: what the image's tags point at. */
  readonly digest: Digest;
  readonly predicateType: string;
};

/** One signed statement that holds, and its bytes. */
export type HeldStatement = VerifiedStatement & { readonly file: string; readonly message: Uint8Array };

/**
 * Signed statements of one kind, in a lookaside. They are in `statements/`, laid out as the signatures are but not among them: StageX's
 * own scripts count all files that lie beside an image's signatures.
 */
export class SignedStatements {
  readonly #address: string;
  readonly #kind: FileKind;

  /** @param lookaside address of the lookaside that has the signatures */
  constructor(lookaside: string, kind: Exclude<FileKind, "signature">) {
    this.#address = `${lookaside.replace(/\/+$/, "")}/statements`;
    this.#kind = kind;
  }

  /** Those that hold, by people of the roster. @throws TrustError where it can't be known */
  async read({ repository, ...about }: About, trust: Trust): Promise<readonly HeldStatement[]> {
    const held: HeldStatement[] = [];
    for (const one of await this.#files(repository, about.digest)) {
      if (!("bytes" in one)) continue;
      try {
        const verified = await verifyStatement(one.bytes, about, trust);
        held.push({ ...verified, file: one.file, message: one.bytes });
      } catch (error) {
        if (!(error instanceof Rejection)) throw error;
      }
    }
    return held;
  }

  /** Of those that hold, the ones that say exactly this. */
  async readThat(about: About, statement: Uint8Array, trust: Trust): Promise<readonly HeldStatement[]> {
    const held = await this.read(about, trust);
    return held.filter(({ content }) => Buffer.compare(content, statement) === 0);
  }

  /** A lookaside in which nothing was ever said has no such folder. */
  async #files(repository: Repository, digest: Digest): Promise<readonly SignatureFile[]> {
    const lookaside = lookasideAt(this.#address, this.#kind);
    const isFolder = lookaside instanceof LookasideFolder;
    if (isFolder && !(await stat(lookaside.folder).catch(() => undefined))?.isDirectory()) return [];
    return await lookaside.read(repository, digest);
  }

  /** Files a signed statement; bytes that are there already are not written again. @throws TrustError where it would not hold */
  async write({ repository, ...about }: About, message: Uint8Array, trust: Trust): Promise<string> {
    if (/^https?:/.test(this.#address))
      throw new TrustError(`${this.#address} is not a folder, and nothing can be written there`);
    await verifyStatement(message, about, trust).catch((error: unknown) => {
      if (!(error instanceof Rejection)) throw error;
      throw new TrustError(`the statement that was just signed would not count: ${error.message}`);
    });
    return await new LookasideFolder(this.#address.replace(/^file:\/\//, ""), this.#kind).write(
      repository,
      about.digest,
      message,
    );
  }
}
