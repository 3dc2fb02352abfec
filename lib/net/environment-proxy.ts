import { BlockList, isIP } from "node:net";
import { bareHost, isLoopbackHost } from "./address-scope.ts";

/** The proxy for requests to a URL. */
export type EnvironmentProxy = {
  /** The environment variable that names it, in its spelling. */
  readonly variable: string;
  /** Its URL, with any credentials. */
  readonly url: string;
  /** Its URL for messages, without credentials: `http://proxy.example:3128`. */
  readonly redactedUrl: string;
};

/**
 * Finds the proxy that the environment names for a URL: `HTTPS_PROXY` for https, `HTTP_PROXY` for
 * http, in capitals or not, unless `NO_PROXY` lists the host. As in curl, git and Go, a listed
 * domain includes all below it, and a network is written as `10.0.0.0/8`. The loopback never has a
 * proxy, which would connect to its own.
 * @returns undefined where requests are sent directly
 * @throws Error where the variable names no http or https proxy; its value may have a password and
 * is not quoted
 */
export function proxyFor(
  url: URL,
  environment: NodeJS.ProcessEnv = process.env,
): EnvironmentProxy | undefined {
  if (url.protocol !== "https:" && url.protocol !== "http:") return undefined;
  const name = `${url.protocol.slice(0, -1)}_proxy`;
  const variable = [name, name.toUpperCase()].find((known) => environment[known]);
  if (variable === undefined || isLoopbackHost(url.hostname)) return undefined;
  if (isListed(url, environment.no_proxy || environment.NO_PROXY || "")) return undefined;
  const named = environment[variable] ?? "";
  // The default scheme is http, as in curl and Go.
  const proxy = URL.parse(named.includes("://") ? named : `http://${named}`);
  if (proxy === null || !/^https?:$/.test(proxy.protocol) || !isDecodable(proxy)) {
    throw new Error(
      `${variable} names no proxy that can be used (expected http:// or https://, a host and a port; special characters of a password as %40)`,
    );
  }
  return { variable, url: proxy.href, redactedUrl: `${proxy.protocol}//${proxy.host}` };
}

/**
 * Returns whether requests to a URL go through a proxy. With an invalid variable, the request
 * itself fails.
 */
export function isProxied(url: URL): boolean {
  try {
    return proxyFor(url) !== undefined;
  } catch {
    return false;
  }
}

function isDecodable({ username, password }: URL): boolean {
  try {
    decodeURIComponent(username + password);
    return true;
  } catch {
    return false;
  }
}

/**
 * Returns whether `NO_PROXY` lists the URL's host: `*`, a host, a domain, an address or a network,
 * each with a port or without.
 */
function isListed({ hostname, port, protocol }: URL, list: string): boolean {
  const host = bareHost(hostname).toLowerCase();
  const usual = protocol === "https:" ? "443" : "80";
  return list.split(/[\s,]+/).some((text) => {
    const entry = text.toLowerCase();
    if (entry === "*") return true;
    const [, name = "", only] =
      /^\[?([^\]]*?)\]?(?::(\d+))?$/.exec(isIP(entry) === 6 ? `[${entry}]` : entry) ?? [];
    if (only !== undefined && only !== (port || usual)) return false;
    if (name.includes("/")) return isWithin(host, name);
    const domain = name.replace(/^\*?\./, "");
    return domain !== "" && (host === domain || host.endsWith(`.${domain}`));
  });
}

function isWithin(host: string, network: string): boolean {
  const [address = "", bits = ""] = network.split("/");
  const [ours, theirs] = [isIP(host), isIP(address)];
  if (ours === 0 || ours !== theirs || !/^\d{1,3}$/.test(bits) || Number(bits) > (ours === 6 ? 128 : 32))
    return false;
  const family = ours === 6 ? "ipv6" : "ipv4";
  const listed = new BlockList();
  listed.addSubnet(address, Number(bits), family);
  return listed.check(host, family);
}
