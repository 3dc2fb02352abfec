import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { bareHost, isLoopbackHost, type Reach, reaches, reachOfAddress } from "./address-reach.ts";
import { proxyFor } from "./environment-proxy.ts";

/**
 * Says what is wrong with a redirect, or null where it may be followed: https stays https, and nobody leads from the internet to a
 * private network, to this machine or to what answers on its link alone.
 * @param first what was asked for, before any redirect
 * @param isHashed whether a hash guards what is fetched: then clear text will do
 */
export async function redirectFault(first: URL, next: URL, isHashed = false): Promise<string | null> {
  const isLocal = first.protocol === "http:" && isLoopbackHost(first.hostname);
  const mayBeClear = isHashed || (isLocal && isLoopbackHost(next.hostname));
  if (next.protocol !== "https:" && !(mayBeClear && next.protocol === "http:")) return "is not https";
  if (next.host === first.host) return null;
  const [from, to] = [await reachOf(first), await reachOf(next)];
  if (reaches.indexOf(to) <= reaches.indexOf(from)) return null;
  return `is a ${to} address, and ${first.hostname} is not`;
}

/**
 * Of a name with several addresses the nearest; a name that has none is asked for in vain. A name that is asked through a proxy has its
 * address there and not here.
 */
async function reachOf(url: URL): Promise<Reach> {
  const host = bareHost(url.hostname);
  if (/^(.+\.)?localhost\.?$/.test(host)) return "loopback";
  if (isIP(host) !== 0) return reachOfAddress(host);
  if (isProxied(url)) return "public";
  const found = await lookup(host, { all: true }).catch(() => []);
  const numbers = found.map(({ address }) => reaches.indexOf(reachOfAddress(address)));
  return reaches[Math.max(0, ...numbers)] ?? "public";
}

/** A variable that names no proxy fails the request itself, with its own words. */
function isProxied(url: URL): boolean {
  try {
    return proxyFor(url) !== undefined;
  } catch {
    return false;
  }
}
