import { isIP } from "node:net";

/**
 * Host, port and path of a registry's images, such as `docker.io/stagex`. Parsed: safe as part of a
 * reference.
 */
export type RegistryAddress = string & { readonly __registryAddress: unique symbol };

/**
 * Host with port, then path components as the distribution spec allows them ("Pulling manifests").
 */
const pattern =
  /^(\[[0-9a-f:]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:\d{1,5})?((?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)$/;

const repositoryPattern = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$/;

/**
 * Parses a registry's address. Transport is https; only this machine's own loopback may have http.
 * Addresses at which a registry client would quietly fall back to http (private networks, `.local`,
 * `.localhost`) are refused.
 * @throws Error that quotes the text, unless it may have a password, and names what is allowed
 */
export function parseRegistryAddress(text: string): RegistryAddress {
  if (text.includes("@") && !text.includes("@sha256:")) {
    // Not quoted: the part before the @ is most likely a password.
    throw new Error(
      "not a registry: there is an @ in it, and names and passwords have no place in an address, which is kept and shown; log in with: docker login HOST",
    );
  }
  const [, host = ""] = pattern.exec(text) ?? [];
  if (host === "") {
    throw new Error(
      `not a registry: ${JSON.stringify(text.slice(0, 200))} (expected host, port and path without a scheme, such as "docker.io/stagex" or "127.0.0.1:5000/stagex")`,
    );
  }
  if (!host.includes(".") && !host.startsWith("[") && host !== "localhost") {
    throw new Error(
      `not a registry: ${JSON.stringify(text)} has no host (a host has a dot in its name, or is "localhost")`,
    );
  }
  if (mayFallBackToHttp(host)) {
    throw new Error(
      `the registry ${text} would be asked by http where https fails, in clear text; give it a name that a certificate is for`,
    );
  }
  // Docker Hub's older name; signatures and policies have the other.
  return text.replace(/^index\.docker\.io(?=\/|$)/, "docker.io") as RegistryAddress;
}

/**
 * Returns the repository of an image in a registry; null where no registry can have an image of
 * that name.
 */
export function repositoryIn(registry: RegistryAddress, image: string): string | null {
  return repositoryPattern.test(image) ? `${registry}/${image}` : null;
}

/**
 * Returns whether go-containerregistry's `name.Registry.Scheme` takes a host for http, as podman
 * and Docker may; not the loopback.
 */
function mayFallBackToHttp(host: string): boolean {
  if (/\.local(host)?$/.test(host)) return true;
  return isIP(host) === 4 && /^(10|192\.168|172\.(1[6-9]|2\d|3[01]))\./.test(host);
}
