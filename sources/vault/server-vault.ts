import { type DownloadOptions, download } from "../download/download.ts";
import type { PartialFile } from "../download/partial-file.ts";
import { vaultPath } from "./folder-vault.ts";
import type { VaultPlace } from "./vault-place.ts";

/**
 * A read-only place of the vault on an https server, which serves the files of a vault's folder.
 */
export class ServerVault implements VaultPlace {
  readonly name: string;
  readonly asked: VaultPlace["asked"];
  readonly #base: string;

  constructor(url: string, asked: VaultPlace["asked"]) {
    this.name = url;
    this.asked = asked;
    this.#base = url.endsWith("/") ? url : `${url}/`;
  }

  urlOf(sha256: string): string {
    return `${this.#base}${vaultPath(sha256)}`;
  }

  async read(sha256: string, into: PartialFile, options: DownloadOptions): Promise<string> {
    return await download(this.urlOf(sha256), into, options);
  }
}

/**
 * Software Heritage, which archives published source code and gives any file of it by its sha256
 * (https://archive.softwareheritage.org/api/1/content/raw/doc/). It is asked after all other places
 * have failed.
 */
export const softwareHeritage: VaultPlace = {
  name: "Software Heritage",
  asked: "after",
  urlOf: (sha256) => `https://archive.softwareheritage.org/api/1/content/sha256:${sha256}/raw/`,
  read: async (sha256, into, options) => await download(softwareHeritage.urlOf(sha256), into, options),
};
