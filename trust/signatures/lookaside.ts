import { isLoopbackHost } from "../../lib/net/address-scope.ts";
import type { Digest } from "../../oci/digest.ts";
import { TrustError } from "../trust-error.ts";
import type { Repository } from "./image-reference.ts";
import { LookasideFolder } from "./lookaside-folder.ts";
import { defaultLookasideLimits, type LookasideLimits, LookasideServer } from "./lookaside-server.ts";
import type { FileKind, SignatureFile } from "./signature-file.ts";

/** A store of signatures apart from the images (containers-registries.d.5, "lookaside"). */
export type Lookaside = {
  /**
   * Reads all signatures of an image, in the order of their numbers. An empty list means that there
   * is none.
   * @throws TrustError, UnavailableError where they can't be known
   */
  read(repository: Repository, digest: Digest): Promise<readonly SignatureFile[]>;
};

/**
 * Creates the lookaside for an address: `https://…`, or a folder, such as a checkout of a git
 * repository.
 * @throws TrustError where the address is neither. Plain http is for this machine alone: on a
 * network anyone could hide signatures.
 */
export function createLookaside(
  address: string,
  kind: FileKind = "signature",
  limits: LookasideLimits = defaultLookasideLimits,
): Lookaside {
  if (!/^https?:/.test(address)) return new LookasideFolder(address.replace(/^file:\/\//, ""), kind);
  const url = URL.parse(address.endsWith("/") ? address : `${address}/`);
  if (url === null) throw new TrustError(`${address} is no address of a lookaside`);
  if (url.username !== "" || url.password !== "") {
    // Not quoted: addresses are kept and shown.
    throw new TrustError(
      "there is an @ in the lookaside's address: names and passwords have no place in it; signatures are public",
    );
  }
  if (/[?#]/.test(address)) {
    throw new TrustError(
      "there is a ? or # in the lookaside's address: what is below such an address can't be asked for",
    );
  }
  if (url.protocol === "http:" && !isLoopbackHost(url.hostname)) {
    throw new TrustError(`the lookaside ${address} must be https, except on this machine`);
  }
  return new LookasideServer(url, kind, limits);
}
