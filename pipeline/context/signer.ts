import { resolve } from "node:path";
import pLimit from "p-limit";
import type { StagexConfig } from "../../config/schema.ts";
import type { Paths } from "../../lib/paths.ts";
import { tryParseFingerprint } from "../../trust/openpgp/fingerprint.ts";
import {
  agentSigningKey,
  loadSigningKey,
  SigningCancelledError,
  type SigningKey,
} from "../../trust/openpgp/signing-key.ts";
import type { Trust } from "../../trust/quorum/quorum.ts";
import { keyOwners, type Person } from "../../trust/quorum/roster.ts";
import { TrustError } from "../../trust/trust-error.ts";
import type { Operation } from "../operation.ts";

/** In milliseconds: the longest that one signature may take, PIN and touch included. */
const signingTimeout = 180_000;

/** Returns the person with this id. @throws TrustError where the roster has none */
export function requirePerson({ roster }: Trust, id: string): Person {
  const person = roster.get(id);
  if (person) return person;
  const known = [...roster.keys()].join(", ") || "nobody";
  throw new TrustError(
    `${JSON.stringify(id)} is not in MAINTAINERS, so what they sign counts for nothing; it has: ${known}. Set one with: pulumi config set stagex:attest ID`,
  );
}

/**
 * Opens the key that `stagex:signingKey` names, in a file or in gpg-agent.
 * @throws TrustError where the key is not this person's
 */
export async function openSigningKey(
  { signingKey }: Pick<StagexConfig, "signingKey">,
  paths: Paths,
  trust: Trust,
  person: Person,
): Promise<SigningKey> {
  if (signingKey === undefined) {
    throw new TrustError(
      `no key to sign with: pulumi config set stagex:signingKey FINGERPRINT. To sign on another machine: npm run stagex sign export -- --out kit.tar`,
    );
  }
  const { keyring, roster } = trust;
  const fingerprint = tryParseFingerprint(signingKey);
  const key = fingerprint
    ? agentSigningKey(fingerprint, { keyring })
    : await loadSigningKey(resolve(paths.project, signingKey));
  const owner = keyOwners(roster, (one) => keyring.primaryOf(one)).get(key.fingerprint);
  if (owner?.id === person.id) return key;
  const whose = owner ? `${owner.id}'s` : "nobody's in MAINTAINERS";
  const own = person.fingerprints.join(", ") || "none";
  throw new TrustError(
    `the key ${key.fingerprint} is ${whose}, not ${person.id}'s (${own}); set theirs with: pulumi config set stagex:signingKey FINGERPRINT`,
  );
}

/**
 * Signs for one person, one signature after the other: a card, a pinentry and a person serve one at
 * a time.
 */
export class Signer {
  readonly #open: () => Promise<SigningKey>;
  readonly #turn = pLimit(1);
  #key: Promise<SigningKey> | undefined;
  #asked = 0;
  #done = 0;
  #refusal: SigningCancelledError | undefined;

  /** @param open opens the key for the first signature: a person who has signed all needs none */
  constructor(open: () => Promise<SigningKey>) {
    this.#open = open;
  }

  /** Signs when its turn has come. After a refusal the person is not asked again in this run. */
  async sign(payload: Uint8Array, operation: Pick<Operation, "signal" | "progress">): Promise<Uint8Array> {
    this.#asked++;
    if (this.#turn.activeCount > 0) operation.progress("waits for its turn to be signed");
    return await this.#turn(async () => {
      try {
        operation.signal.throwIfAborted();
        if (this.#refusal) throw this.#refusal;
        this.#key ??= this.#open();
        const signal = AbortSignal.any([operation.signal, AbortSignal.timeout(signingTimeout)]);
        return await (await this.#key).sign(payload, {
          signal,
          onProgress: (words) => operation.progress(`${words}: ${this.#done + 1} of ${this.#asked}`),
        });
      } catch (error) {
        if (error instanceof SigningCancelledError) this.#refusal = error;
        throw error;
      } finally {
        this.#done++;
      }
    });
  }
}
