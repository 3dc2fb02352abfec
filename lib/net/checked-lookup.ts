import { lookup } from "node:dns/promises";
import { isIP, type LookupFunction } from "node:net";

/** Resolves a host's name to its addresses. */
export type ResolveAddresses = (host: string) => Promise<readonly string[]>;

/** Resolves a name as the system does. */
export const resolveWithSystem: ResolveAddresses = async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address);

/**
 * Creates the lookup of a connection. The name is resolved once, and only addresses that `select`
 * returns are connected to, so no later answer of a name server leads elsewhere. A URL whose host
 * is an address has no lookup; the caller checks it before.
 * @param select selects from a name's addresses; throws where the name may not be connected to
 */
export function createCheckedLookup(
  select: (host: string, addresses: readonly string[]) => readonly string[],
  resolveAddresses: ResolveAddresses = resolveWithSystem,
): LookupFunction {
  return (host, { all }, answer) => {
    resolveAddresses(host)
      .then((addresses) => {
        const found = select(host, addresses).map((address) => ({ address, family: isIP(address) }));
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
