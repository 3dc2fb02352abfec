import { BlockList, isIP } from "node:net";
import os from "node:os";

/** How near to this machine an address is; a server may lead us to no nearer one than its own. */
export const addressScopes = ["public", "private", "loopback", "link-local"] as const;

export type AddressScope = (typeof addressScopes)[number];

/** The nearest first: an address is of the first kind that it fits. Link-local ones have the metadata of cloud machines. */
const nets: readonly (readonly [AddressScope, readonly string[]])[] = [
  ["link-local", ["169.254.0.0/16", "fe80::/10", "224.0.0.0/3", "ff00::/8", "0.0.0.0/8", "::/128"]],
  ["link-local", ["fd00:ec2::254/128"]],
  ["loopback", ["127.0.0.0/8", "::1/128"]],
  // Private networks (RFC 1918, RFC 4193, once RFC 3513), and the carriers' (RFC 6598).
  ["private", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10", "100.64.0.0/10"]],
  // A network's own translation to IPv4 (RFC 8215), its protocols' (RFC 6890), and those for measurements (RFC 2544).
  ["private", ["64:ff9b:1::/48", "192.0.0.0/24", "198.18.0.0/15"]],
];

/**
 * IPv6 addresses that lead to an IPv4 one, and the group of 16 bits at which that begins: mapped, translated (RFC 2765) and compatible
 * (RFC 4291), through NAT64 (RFC 6052) and 6to4 (RFC 3056).
 */
const carriers: readonly (readonly [prefix: string, group: number])[] = [
  ["::ffff:0:0/96", 6],
  ["::ffff:0:0:0/96", 6],
  ["::/96", 6],
  ["64:ff9b::/96", 6],
  ["2002::/16", 1],
];

const lists = nets.map(([reach, prefixes]) => ({ reach, list: listOf(prefixes) }));
const carrierLists = carriers.map(([prefix, group]) => ({ group, list: listOf([prefix]) }));

function listOf(prefixes: readonly string[]): BlockList {
  const list = new BlockList();
  for (const prefix of prefixes) {
    const [address = "", bits] = prefix.split("/");
    list.addSubnet(address, Number(bits), isIP(address) === 6 ? "ipv6" : "ipv4");
  }
  return list;
}

/**
 * Whether a URL's host is this machine's loopback by its name alone; some resolvers ask the network for `x.localhost`. An address of one
 * of its interfaces is not: what may be asked in clear text, or without the proxy, must not depend on the machine.
 */
export function isLoopbackHost(hostname: string): boolean {
  return (
    hostname === "localhost" ||
    (isIP(bareHost(hostname)) !== 0 && reachAmong(bareHost(hostname), null) === "loopback")
  );
}

/** How near to this machine a URL's host is, where it tells by itself: it is an address, or a name of this machine's loopback (RFC 6761). */
export function scopeOfHost(hostname: string): AddressScope | undefined {
  const host = bareHost(hostname);
  if (/^(.+\.)?localhost\.?$/.test(host)) return "loopback";
  return isIP(host) === 0 ? undefined : scopeOfAddress(host);
}

/** How near to this machine a numeric address is. Each address of its own interfaces is its loopback, a public one too. */
export function scopeOfAddress(address: string): AddressScope {
  return reachAmong(address, interfaceAddresses());
}

function reachAmong(address: string, own: BlockList | null): AddressScope {
  // The zone of a link-local address is no part of where it is.
  const [plain = ""] = address.split("%", 1);
  const family = isIP(plain) === 6 ? "ipv6" : "ipv4";
  const listed = lists.find(({ list }) => list.check(plain, family))?.reach;
  if (listed !== "link-local" && own?.check(plain, family)) return "loopback";
  if (listed !== undefined) return listed;
  const carrier = family === "ipv4" ? undefined : carrierLists.find(({ list }) => list.check(plain, family));
  return carrier ? reachAmong(carriedIn(plain, carrier.group), own) : "public";
}

/** The addresses of this machine's interfaces, asked for anew each time: they come and go with networks. */
function interfaceAddresses(): BlockList {
  const list = new BlockList();
  for (const { address, family } of Object.values(interfaces()).flatMap((each) => each ?? []))
    list.addAddress(address, family === "IPv6" ? "ipv6" : "ipv4");
  return list;
}

/** A sandbox may refuse the question; the well-known networks are told all the same. */
function interfaces(): ReturnType<typeof os.networkInterfaces> {
  try {
    return os.networkInterfaces();
  } catch {
    return {};
  }
}

/** The IPv4 address that begins at this group of an IPv6 address. */
function carriedIn(address: string, group: number): string {
  // As a URL's host it is hexadecimal throughout, with `::` for the longest row of zeros.
  const [head = "", tail] = bareHost(new URL(`http://[${address}]/`).hostname).split("::");
  const [first, last] = [head, tail ?? ""].map((part) => part.split(":").filter((each) => each !== ""));
  const zeros = Array.from({ length: 8 - (first?.length ?? 0) - (last?.length ?? 0) }, () => "0");
  const groups = [...(first ?? []), ...zeros, ...(last ?? [])].map((each) => Number.parseInt(each, 16));
  return groups
    .slice(group, group + 2)
    .flatMap((each) => [each >> 8, each & 255])
    .join(".");
}

/** Without the brackets that a URL has around an IPv6 address. */
export function bareHost(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, "");
}
