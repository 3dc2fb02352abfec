import type { Fingerprint } from "./fingerprint.ts";
import { type Keyring, requireSigningKey } from "./keyring.ts";

/**
 * Finds the keys of each certificate that may sign now, by its primary key: neither expired nor
 * revoked nor weak.
 */
export async function findUsableKeys(
  keyring: Keyring,
  now = new Date(),
): Promise<ReadonlyMap<Fingerprint, readonly Fingerprint[]>> {
  const usable = new Map<Fingerprint, readonly Fingerprint[]>();
  for (const primary of keyring.certificates.keys()) {
    const candidates = keyring.keysOf(primary);
    const checks = await Promise.allSettled(candidates.map((one) => requireSigningKey(one, now)));
    const good = candidates.filter((_, index) => checks[index]?.status === "fulfilled");
    usable.set(
      primary,
      good.map(({ fingerprint }) => fingerprint),
    );
  }
  return usable;
}
