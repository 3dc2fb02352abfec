import type { StagexConfig } from "../../config/schema.ts";
import { Ledger } from "../../distro/ledger/ledger.ts";
import type { Paths } from "../../lib/paths.ts";

/** The ledgers that statements about an image are made from. */
export type EvidenceLedgers = {
  /** Gives the digests of images that others built. */
  readonly ledger: Ledger;
  /** Gives the builders: the records of one machine alone, or the same ledger. */
  readonly built: Ledger;
};

/**
 * Opens the ledgers that `stagex:substituteTrust` accepts: that of local builds, and the shared one. With
 * `quorum` the images that were accepted at quorum take the place of the shared ledger, which
 * others can write.
 */
export function openLedgers(
  { substituteTrust }: Pick<StagexConfig, "substituteTrust">,
  { built, agreed, ledger }: Pick<Paths, "built" | "agreed" | "ledger">,
): EvidenceLedgers {
  return { built: new Ledger(built), ledger: new Ledger(substituteTrust === "quorum" ? agreed : ledger) };
}
