import type { StagexConfig } from "../../config/schema.ts";
import { Ledger } from "../../distro/ledger/ledger.ts";
import type { Paths } from "../../lib/paths.ts";

/** Where it is looked up what came of which inputs. */
export type EvidenceLedgers = {
  /** What is known by others whose word is taken: other digests come from here. */
  readonly ledger: Ledger;
  /** Who is known to have built: of one machine alone, or the same ledger. */
  readonly built: Ledger;
};

/**
 * Opens the ledgers whose word `stagex:substituteTrust` takes for what came of which inputs: what was built here and, besides, what the shared ledger
 * says; but with `quorum` what was taken in once enough people had signed it, and nothing that others can write.
 */
export function openLedgers(
  { substituteTrust }: Pick<StagexConfig, "substituteTrust">,
  { built, agreed, ledger }: Pick<Paths, "built" | "agreed" | "ledger">,
): EvidenceLedgers {
  return { built: new Ledger(built), ledger: new Ledger(substituteTrust === "quorum" ? agreed : ledger) };
}
