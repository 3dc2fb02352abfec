import { printableMessage } from "../lib/text/printable.ts";

/**
 * A question of trust that can't be answered: the roster contradicts itself, keys can't be read, or
 * a lookaside doesn't answer. The message names the problem, the place, the reason and the fix. A
 * signature that doesn't count is a SignatureRejection instead.
 */
export class TrustError extends Error {
  override readonly name = "TrustError";

  constructor(message: string) {
    super(printableMessage(message));
  }
}

/** A registry or a lookaside that does not answer now, and may answer later. */
export class UnavailableError extends TrustError {}
