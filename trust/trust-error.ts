import { printableMessage } from "../lib/text/printable.ts";

/**
 * What keeps a question of trust from being answered at all: a roster that contradicts itself, keys that can't be read, a lookaside
 * that doesn't answer. The message says what, where, why and what to do. A signature that doesn't count is a Rejection instead.
 */
export class TrustError extends Error {
  override readonly name = "TrustError";

  constructor(message: string) {
    super(printableMessage(message));
  }
}

/** The same, when whatever is asked about may well answer later: a registry or a lookaside that is down. */
export class UnavailableError extends TrustError {}
