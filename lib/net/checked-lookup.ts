import { lookup } from "node:dns/promises";
import { isIP, type LookupFunction } from "node:net";

/** The addresses of a name. */
export type ResolveAddresses = (host: string) => Promise<readonly string[]>;

/** Asks the system for the addresses of a name. */
export const resolveWithSystem: ResolveAddresses = async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address);

/**
 * Makes the lookup of a connection. The name is resolved once, and only the addresses that `judge` returns are connected to: no later
 * answer of a name server can lead elsewhere. A URL with an address for its host is never looked up, and has to be judged before.
 * @param judge chooses among a name's addresses, at least one; throws where the name may not be asked
 */
export function createCheckedLookup(
  judge: (host: string, addresses: readonly string[]) => readonly string[],
  resolveAddresses: ResolveAddresses = resolveWithSystem,
): LookupFunction {
  return (host, { all }, answer) => {
    resolveAddresses(host)
      .then((addresses) => {
        const found = judge(host, addresses).map((address) => ({ address, family: isIP(address) }));
        const [first] = found;
        if (first === undefined) throw new Error(`the name ${host} has no address`);
        return { found, first };
      })
      .then(
        ({ found, first }) => (all ? answer(null, found) : answer(null, first.address, first.family)),
        (error: NodeJS.ErrnoException) => answer(error, ""),
      );
  };
}
