import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { lstat, mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { createFile } from "../../lib/fs/atomic-write.ts";
import { ifMissing } from "../../lib/fs/error-code.ts";
import type { Digest } from "../../oci/digest.ts";
import { maxMessageSize } from "../openpgp/openpgp-policy.ts";
import { SignatureRejection } from "../openpgp/signature-rejection.ts";
import { TrustError } from "../trust-error.ts";
import type { Repository } from "./image-reference.ts";
import {
  type FileKind,
  fileTooLarge,
  maxSignatures,
  type SignatureFile,
  signatureFolder,
  tooManyFiles,
} from "./signature-file.ts";

/** A lookaside in a folder: the only kind that can be written. */
export class LookasideFolder {
  readonly folder: string;
  readonly #kind: FileKind;

  constructor(folder: string, kind: FileKind = "signature") {
    this.folder = folder;
    this.#kind = kind;
  }

  /**
   * @throws TrustError where the folder is missing: then the signatures of no image can be known
   */
  async requireFolder(): Promise<void> {
    if ((await stat(this.folder).catch(() => undefined))?.isDirectory()) return;
    throw new TrustError(
      `there is no folder of signatures at ${this.folder}; if nobody has signed yet, make it: mkdir -p ${this.folder}`,
    );
  }

  async read(repository: Repository, digest: Digest): Promise<readonly SignatureFile[]> {
    await this.requireFolder();
    const path = signatureFolder(repository, digest);
    const link = await findLink(this.folder, path);
    if (link !== undefined) {
      const reason = "it is a symbolic link, which is not followed; put the signatures' folder itself there";
      return [{ file: link, rejection: new SignatureRejection("not-a-file", reason) }];
    }
    return readSignatureFolder(join(this.folder, path), this.#kind);
  }

  /**
   * Writes a signature under the next free number, whole or not at all. Two writers at once get two
   * numbers; bytes that are there already are not written again.
   * @returns the name of the file, `signature-3`
   * @throws TrustError where {@link maxSignatures} are there, or a link would lead the write
   * elsewhere
   */
  async write(repository: Repository, digest: Digest, signature: Uint8Array): Promise<string> {
    if (signature.length > maxMessageSize) throw new TrustError(`${signature.length} bytes are no signature`);
    const path = signatureFolder(repository, digest);
    const link = await findLink(this.folder, path);
    if (link !== undefined) {
      throw new TrustError(
        `nothing is filed in ${this.folder}: ${link} is a symbolic link; put a folder in its place`,
      );
    }
    const folder = join(this.folder, path);
    await mkdir(folder, { recursive: true });
    await removeOldDrafts(folder);
    const options = { mode: 0o644, temporary: join(folder, `.new-${randomUUID()}`) };
    for (let number = 1; number <= maxSignatures; number++) {
      const file = `${this.#kind}-${number}`;
      const isFree = (await lstat(join(folder, file)).catch(ifMissing(null))) === null;
      if (isFree && (await createFile(join(folder, file), signature, options))) return file;
      const there = await readOne(folder, file);
      if ("bytes" in there && Buffer.compare(there.bytes, signature) === 0) return file;
    }
    throw new TrustError(
      `${folder} has ${maxSignatures} signatures already, and clients read no more; take out what is not one`,
    );
  }
}

/**
 * Reads the signatures in one image's folder. Files after a gap in the numbers are listed as
 * rejected: podman stops at the first missing number, and a signature that it does not see can't
 * count here.
 */
export async function readSignatureFolder(
  folder: string,
  kind: FileKind = "signature",
): Promise<readonly SignatureFile[]> {
  const numbers = (await namesIn(folder))
    .map((name) => Number(new RegExp(`^${kind}-([1-9][0-9]{0,8})$`).exec(name)?.[1] ?? Number.NaN))
    .filter((number) => !Number.isNaN(number))
    .sort((a, b) => a - b);
  const end = numbers.findIndex((number, index) => number !== index + 1);
  const reach = end < 0 ? numbers.length : end;
  const files: SignatureFile[] = [];
  for (const [index, number] of numbers.entries()) {
    const file = `${kind}-${number}`;
    if (index >= reach) {
      const reason = `there is no ${kind}-${reach + 1} before it, where podman stops; number them without gaps`;
      files.push({ file, rejection: new SignatureRejection("after-gap", reason) });
    } else if (index >= maxSignatures) {
      files.push({ file, rejection: tooManyFiles() });
    } else files.push(await readOne(folder, file));
  }
  return files;
}

/**
 * Finds the first symbolic link between a lookaside's folder and an image's; returns its path below
 * the former. Whoever fills the folder could have made it.
 */
async function findLink(root: string, path: string): Promise<string | undefined> {
  const names = path.split("/");
  for (let depth = 1; depth <= names.length; depth++) {
    const below = names.slice(0, depth).join("/");
    const facts = await lstat(join(root, below)).catch(() => undefined);
    if (facts === undefined) return undefined;
    if (facts.isSymbolicLink()) return below;
  }
  return undefined;
}

/** Removes drafts of writers that were killed. A write takes far less than an hour. */
async function removeOldDrafts(folder: string): Promise<void> {
  const drafts = (await namesIn(folder)).filter((name) => name.startsWith(".new-"));
  for (const draft of drafts.map((name) => join(folder, name))) {
    const facts = await lstat(draft).catch(() => undefined);
    if (facts && Date.now() - facts.mtimeMs > 3600_000) await rm(draft, { force: true });
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw new TrustError(`the signatures can't be read: ${(error as Error).message}`);
  }
}

/**
 * Reads a regular file without following a link or waiting for a pipe: anyone may have written this
 * folder.
 */
async function readOne(folder: string, file: string): Promise<SignatureFile> {
  try {
    const handle = await open(
      join(folder, file),
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
    try {
      const facts = await handle.stat();
      if (!facts.isFile()) throw new SignatureRejection("not-a-file", "it is not a regular file");
      if (facts.size > maxMessageSize) throw fileTooLarge(facts.size);
      return { file, bytes: await handle.readFile() };
    } finally {
      await handle.close();
    }
  } catch (error) {
    const rejection =
      error instanceof SignatureRejection
        ? error
        : new SignatureRejection(
            "not-a-file",
            `it can't be read: ${(error as NodeJS.ErrnoException).code ?? error}`,
          );
    return { file, rejection };
  }
}
