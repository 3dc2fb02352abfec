import { type CraneRun, type Endurance, runCrane } from "./crane.ts";
import type { Digest } from "./digest.ts";
import { type Descriptor, parseIndex, parseManifest } from "./image.ts";
import { RegistryError, registryError } from "./registry-error.ts";
import { Collected, isIndex, readReference } from "./remote-document.ts";

/** One document or blob of an image that a registry does not have as it should. */
export type RemoteDamage = {
  readonly digest: Digest;
  readonly problem: "missing" | "wrong-size" | "wrong-bytes";
  /** Says which one, of which repository, and what is wrong with it. */
  readonly message: string;
};

/** An answer to a question for a blob. */
type Answer = { readonly status: number; readonly length: number | null; readonly contentType: string };

/** crane prints at most a line for each layer that is not there. */
const wordsLimit = 1024 * 1024;

/**
 * What a registry lacks of the image with this manifest or index: its documents are read and hashed, of each layer is asked whether
 * it is there, and how long. Empty where nothing is wrong.
 * @param repository with the registry's host
 * @throws RegistryError where the registry can't tell
 */
export async function auditRemote(
  crane: string,
  repository: string,
  digest: Digest,
  run: Pick<CraneRun, "signal"> & Endurance = {},
): Promise<readonly RemoteDamage[]> {
  const read = async (document: Digest): Promise<Buffer | RemoteDamage> => {
    try {
      return (await readReference(crane, repository, document, run.signal, run)).bytes;
    } catch (error) {
      const damage = damageOf(error, document);
      if (damage === undefined) throw error;
      return damage;
    }
  };
  const top = await read(digest);
  if (!Buffer.isBuffer(top)) return [top];
  const entries = isIndex(top) ? parseIndex(top, `${repository}@${digest}`, digest) : [{ digest }];
  const damages: RemoteDamage[] = [];
  const blobs = new Map<Digest, Descriptor>();
  for (const entry of entries) {
    const bytes = entry.digest === digest ? top : await read(entry.digest);
    if (!Buffer.isBuffer(bytes)) {
      damages.push(bytes);
      continue;
    }
    const { config, layers } = parseManifest(bytes, `${repository}@${entry.digest}`, entry.digest);
    for (const blob of [config, ...layers]) blobs.set(blob.digest, blob);
  }
  if (damages.length > 0) return damages;
  return await auditBlobs(crane, `${repository}@${digest}`, [...blobs.values()], run);
}

async function auditBlobs(
  crane: string,
  reference: string,
  blobs: readonly Descriptor[],
  run: Pick<CraneRun, "signal"> & Endurance,
): Promise<readonly RemoteDamage[]> {
  const answers = new Answers();
  const failure = await runCrane(crane, ["validate", "--fast", "--remote", reference], {
    ...run,
    doing: `looking for the blobs of ${reference}`,
    to: () => new Collected().anew(),
    limit: wordsLimit,
    onLine: (line) => answers.note(line),
  }).catch((error: unknown) => error);
  // Whatever else crane finds about the image is not the registry's doing: the bytes of its documents have been hashed.
  if (failure !== undefined && !(failure instanceof RegistryError)) throw failure;
  const repository = reference.slice(0, reference.indexOf("@"));
  const damages: RemoteDamage[] = [];
  for (const { digest, size } of blobs) {
    const answer = answers.of(digest);
    if (answer?.status === 200 && /^text\/html\b/i.test(answer.contentType)) {
      const doing = `looking for the blob ${repository}@${digest}`;
      throw registryError("not-a-registry", doing, `it answers with a web page (${answer.contentType})`);
    }
    if (answer?.status === 404) {
      damages.push({ digest, problem: "missing", message: `${repository} lacks the blob ${digest}` });
    } else if (answer?.status === 200 && (answer.length ?? size) !== size) {
      const message = `${repository} has the blob ${digest} with ${answer.length} bytes instead of ${size}`;
      damages.push({ digest, problem: "wrong-size", message });
    } else if (answer?.status !== 200) {
      throw failure ?? new Error(`crane has not asked ${repository} for the blob ${digest}`);
    }
  }
  const isLie = failure !== undefined && ["wrong-bytes", "not-a-registry"].includes(failure.problem);
  if (damages.length === 0 && isLie) throw failure;
  return damages;
}

function damageOf(error: unknown, digest: Digest): RemoteDamage | undefined {
  if (!(error instanceof RegistryError)) return undefined;
  if (error.problem === "absent") return { digest, problem: "missing", message: error.message };
  if (error.problem === "wrong-bytes") return { digest, problem: "wrong-bytes", message: error.message };
  return undefined;
}

/** What crane tells, with --verbose, of the registry's last answer for each blob; a blob's own server may be another (307). */
class Answers {
  readonly #answers = new Map<Digest, Answer>();
  #asked: Digest | undefined;
  #isRedirected = false;

  note(line: string): void {
    const [, url] = / --> [A-Z]+ (\S+)/.exec(line) ?? [];
    if (url !== undefined) {
      const [, digest] = /\/blobs\/(sha256:[0-9a-f]{64})$/.exec(url) ?? [];
      if (digest !== undefined || !this.#isRedirected) this.#asked = digest as Digest | undefined;
      this.#isRedirected = false;
    }
    const [, code] = / <-- (\d{3}) /.exec(line) ?? [];
    if (code !== undefined && this.#asked !== undefined) {
      this.#isRedirected = code.startsWith("3");
      this.#answers.set(this.#asked, { status: Number(code), length: null, contentType: "" });
    }
    const answer = this.#asked === undefined ? undefined : this.#answers.get(this.#asked);
    if (answer === undefined || this.#asked === undefined) return;
    const [, header = "", value = ""] = /^(Content-Length|Content-Type): (.*)$/i.exec(line) ?? [];
    if (/^content-length$/i.test(header) && answer.length === null && /^\d+$/.test(value))
      this.#answers.set(this.#asked, { ...answer, length: Number(value) });
    if (/^content-type$/i.test(header) && answer.contentType === "")
      this.#answers.set(this.#asked, { ...answer, contentType: value });
  }

  of(digest: Digest): Answer | undefined {
    return this.#answers.get(digest);
  }
}
