import { BlockList, isIP } from "node:net";
import os from "node:os";

/**
 * The scopes of addresses, the nearest to this machine last. A server may redirect to no nearer one
 * than its own.
 */
export const addressScopes = ["public", "private", "loopback", "link-local"] as const;

export type AddressScope = (typeof addressScopes)[number];

/**
 * Networks by scope; the first match counts. Link-local ones have the metadata of cloud machines.
 */
const nets: readonly (readonly [AddressScope, readonly string[]])[] = [
  ["link-local", ["169.254.0.0/16", "fe80::/10", "224.0.0.0/3", "ff00::/8", "0.0.0.0/8", "::/128"]],
  ["link-local", ["fd00:ec2::254/128"]],
  ["loopback", ["127.0.0.0/8", "::1/128"]],
  // Private networks (RFC 1918, RFC 4193, formerly RFC 3513), and carriers' NAT (RFC 6598).
  ["private", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10", "100.64.0.0/10"]],
  // Local translation to IPv4 (RFC 8215), IETF protocols (RFC 6890), and benchmarks (RFC 2544).
  ["private", ["64:ff9b:1::/48", "192.0.0.0/24", "198.18.0.0/15"]],
];

/**
 * Prefixes of IPv6 addresses that contain an IPv4 one, and the group of 16 bits at which it begins:
 * mapped, translated (RFC 2765) and compatible (RFC 4291), NAT64 (RFC 6052) and 6to4 (RFC 3056).
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
 * Returns whether a URL's host is this machine's loopback by its name alone. `x.localhost` is not,
 * since some resolvers ask the network for it. Neither is an address of an interface: clear text
 * and the proxy must not depend on the machine.
 */
export function isLoopbackHost(hostname: string): boolean {
  return (
    hostname === "localhost" ||
    (isIP(bareHost(hostname)) !== 0 && reachAmong(bareHost(hostname), null) === "loopback")
  );
}

/**
 * Returns the scope of a URL's host that is an address or a name of the loopback (RFC 6761);
 * undefined for other names.
 */
export function scopeOfHost(hostname: string): AddressScope | undefined {
  const host = bareHost(hostname);
  if (/^(.+\.)?localhost\.?$/.test(host)) return "loopback";
  return isIP(host) === 0 ? undefined : scopeOfAddress(host);
}

/**
 * Returns the scope of a numeric address. Each address of this machine's interfaces is loopback, a
 * public one too.
 */
export function scopeOfAddress(address: string): AddressScope {
  return reachAmong(address, interfaceAddresses());
}

function reachAmong(address: string, own: BlockList | null): AddressScope {
  // The zone of a link-local address does not change its scope.
  const [plain = ""] = address.split("%", 1);
  const family = isIP(plain) === 6 ? "ipv6" : "ipv4";
  const listed = lists.find(({ list }) => list.check(plain, family))?.reach;
  if (listed !== "link-local" && own?.check(plain, family)) return "loopback";
  if (listed !== undefined) return listed;
  const carrier = family === "ipv4" ? undefined : carrierLists.find(({ list }) => list.check(plain, family));
  return carrier ? reachAmong(carriedIn(plain, carrier.group), own) : "public";
}

/**
 * Lists the addresses of this machine's interfaces, each time anew: they come and go with networks.
 */
function interfaceAddresses(): BlockList {
  const list = new BlockList();
  for (const { address, family } of Object.values(interfaces()).flatMap((each) => each ?? []))
    list.addAddress(address, family === "IPv6" ? "ipv6" : "ipv4");
  return list;
}

/** Returns none where a sandbox forbids it; the well-known networks are recognized all the same. */
function interfaces(): ReturnType<typeof os.networkInterfaces> {
  try {
    return os.networkInterfaces();
  } catch {
    return {};
  }
}

/** Returns the IPv4 address that begins at this group of an IPv6 address. */
function carriedIn(address: string, group: number): string {
  // A URL's host is all hexadecimal, with `::` for the longest run of zeros.
  const [head = "", tail] = bareHost(new URL(`http://[${address}]/`).hostname).split("::");
  const [first, last] = [head, tail ?? ""].map((part) => part.split(":").filter((each) => each !== ""));
  const zeros = Array.from({ length: 8 - (first?.length ?? 0) - (last?.length ?? 0) }, () => "0");
  const groups = [...(first ?? []), ...zeros, ...(last ?? [])].map((each) => Number.parseInt(each, 16));
  return groups
    .slice(group, group + 2)
    .flatMap((each) => [each >> 8, each & 255])
    .join(".");
}

/** Removes the brackets that a URL has around an IPv6 address. */
export function bareHost(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, "");
}
