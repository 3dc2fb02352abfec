import type { Source } from "../distro/build-plan.ts";
import { type DownloadOptions, download } from "./download/download.ts";
import { type MirrorUrls, orderMirrorUrls } from "./download/mirror-url.ts";
import type { PartialFile } from "./download/partial-file.ts";
import { softwareHeritage } from "./vault/server-vault.ts";
import type { VaultPlace } from "./vault/vault-place.ts";

/** A place elsewhere that is asked for one source. */
export type SourceLocation = {
  /** The URL that is requested there. */
  readonly url: string;
  readonly kind: "mirror" | "vault" | "last-resort";
  /** Reads the source, as {@link VaultPlace.read} does. */
  read(into: PartialFile, options: DownloadOptions): Promise<string>;
};

/** Options that select the places to ask. */
export type LocationOptions = {
  /** True if mirrors are asked over https alone. */
  readonly httpsOnly: boolean;
  /** Places that hold sources by sha256. */
  readonly vault: readonly VaultPlace[];
  /** True if Software Heritage is asked for sources that every other place failed to give. */
  readonly softwareHeritage: boolean;
};

/**
 * Lists the places elsewhere that are asked for a source, in their order: the vault's first places,
 * the mirrors, the vault's last ones, Software Heritage.
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
