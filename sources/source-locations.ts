import type { Source } from "../distro/build-plan.ts";
import { type DownloadOptions, download } from "./download/download.ts";
import { type MirrorUrls, orderMirrorUrls } from "./download/mirror-url.ts";
import type { PartialFile } from "./download/partial-file.ts";
import { softwareHeritage } from "./vault/server-vault.ts";
import type { VaultPlace } from "./vault/vault-place.ts";

/** A place elsewhere that is asked for one source. */
export type SourceLocation = {
  /** What is asked for there, as a URL. */
  readonly url: string;
  readonly kind: "mirror" | "vault" | "last-resort";
  /** Reads the source, as {@link VaultPlace.read} does. */
  read(into: PartialFile, options: DownloadOptions): Promise<string>;
};

/** Which places elsewhere are asked. */
export type LocationOptions = {
  /** Whether mirrors are asked over https alone. */
  readonly httpsOnly: boolean;
  /** Places that hold sources by sha256. */
  readonly vault: readonly VaultPlace[];
  /** Whether Software Heritage is asked for what no other place gave. */
  readonly softwareHeritage: boolean;
};

/**
 * Lists the places elsewhere that are asked for a source, in their order: the vault's first places, the mirrors, the vault's last ones,
 * Software Heritage.
 */
export function listLocations(
  { sha256, mirrors }: Pick<Source, "sha256" | "mirrors">,
  { httpsOnly, vault, softwareHeritage: isAskedLast }: LocationOptions,
): { readonly places: readonly SourceLocation[]; readonly refused: MirrorUrls["refused"] } {
  const { urls, refused } = orderMirrorUrls(mirrors, httpsOnly);
  const held = (place: VaultPlace, kind: SourceLocation["kind"]): SourceLocation => ({
    url: place.urlOf(sha256),
    kind,
    read: (into, options) => place.read(sha256, into, options),
  });
  const vaultAsked = (when: VaultPlace["asked"]): SourceLocation[] =>
    vault.filter(({ asked }) => asked === when).map((place) => held(place, "vault"));
  const published = urls.map(
    (url): SourceLocation => ({
      url,
      kind: "mirror",
      read: (into, options) => download(url, into, options),
    }),
  );
  const last = isAskedLast ? [held(softwareHeritage, "last-resort")] : [];
  return { places: [...vaultAsked("before"), ...published, ...vaultAsked("after"), ...last], refused };
}
