import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Digest } from "../../../oci/digest.ts";
import { parseTaggedReference, repositoryOf } from "../../../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../../../trust/signatures/lookaside-folder.ts";
import { maintainersOf, type People, payload, signedBy } from "./maintainers.ts";

/**
 * A roster and its keys as files, and a lookaside: `MAINTAINERS`, `keys/` and `signatures/` in a
 * folder of the test's own.
 */
export class MaintainerFiles {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  get lookaside(): LookasideFolder {
    return new LookasideFolder(join(this.folder, "signatures"));
  }

  /** Writes roster and keys, in the place of earlier ones. */
  async write(people: People): Promise<void> {
    const keys = join(this.folder, "keys");
    await rm(keys, { recursive: true, force: true });
    await mkdir(keys, { recursive: true });
    await mkdir(join(this.folder, "signatures"), { recursive: true });
    await writeFile(join(this.folder, "MAINTAINERS"), maintainersOf(people));
    for (const [id, { keys: own }] of Object.entries(people)) {
      const armored = own.map((key) => key.toPublic().armor()).join("\n");
      await writeFile(join(keys, `${id}.asc`), armored);
    }
  }

  /** Writes a person's good signature of an image; `cpuVendor` is its claim. */
  async sign(
    people: People,
    person: string,
    image: { reference: string; digest: Digest; cpuVendor?: string },
  ): Promise<void> {
    const { reference, digest, cpuVendor } = image;
    const key = people[person]?.keys[0];
    if (key === undefined || !key.isPrivate()) throw new Error(`${person} has no key to sign with`);
    const optional = cpuVendor === undefined ? {} : { cpuVendor };
    const signature = await signedBy(key, payload({ reference, manifest: digest, optional }));
    await this.lookaside.write(repositoryOf(parseTaggedReference(reference)), digest, signature);
  }
}
