import { z } from "zod";
import { isLoopbackHost } from "../lib/net/address-scope.ts";
import { parseRegistryAddress } from "../oci/registry/registry-address.ts";

const asked = z
  .enum(["before", "after"], { error: 'expected "before" or "after": before the mirrors or after them' })
  .default("before")
  .describe("The turn of the place: before the mirrors of package.toml, or after them.");

const push = z
  .boolean()
  .optional()
  .describe("Lets `stagex fetch --push` push to the place. Default for folders and registries: true.");

/**
 * A place of the vault, as `stagex:vault` lists it. It has exactly one of `folder`, `url` and
 * `registry`.
 */
const vaultPlace = z
  .strictObject({
    folder: z
      .string()
      .min(1)
      .optional()
      .describe("A folder, relative to the project, with `sha256/ab/abcdef…`."),
    url: z
      .string()
      .min(1)
      .optional()
      .describe("The URL of an https server with the same files below it. It is only read."),
    registry: z.string().min(1).optional().describe("An OCI repository, such as `registry.example/sources`."),
    asked,
    push,
  })
  .transform(({ folder, url, registry, asked, push }, context) => {
    const fail = (path: string, message: string): never => {
      context.addIssue({ code: "custom", path: path === "" ? [] : [path], message });
      return z.NEVER;
    };
    const named = [folder, url, registry].filter((one) => one !== undefined).length;
    if (named !== 1) return fail("", "expected one of folder, url and registry");
    if (folder !== undefined) {
      if (/^[a-z][a-z0-9+.-]*:\/\//i.test(folder)) return fail("folder", "this is a URL, not a folder");
      return { kind: "folder" as const, folder, asked, push: push ?? true };
    }
    if (url !== undefined) {
      if (push === true) return fail("push", "an https server is only read; push to its folder");
      const problem = problemOfUrl(url);
      return problem === undefined ? { kind: "server" as const, url, asked } : fail("url", problem);
    }
    try {
      const repository = parseRegistryAddress(registry ?? "");
      if (!repository.includes("/")) return fail("registry", "names no repository (expected host/path)");
      return { kind: "registry" as const, repository, asked, push: push ?? true };
    } catch (error) {
      return fail("registry", error instanceof Error ? error.message : String(error));
    }
  });

/** The places of the vault, in the order to ask them. */
export const vaultPlaces = z.array(vaultPlace).min(1);
export type VaultConfig = z.infer<typeof vaultPlaces>;

/**
 * Returns the reason why sources cannot be fetched below this URL. It does not quote what may be a
 * password.
 */
function problemOfUrl(text: string): string | undefined {
  const url = URL.parse(text);
  if (url === null) return "is not a URL";
  if (url.username !== "" || url.password !== "") return "must have no user name or password";
  if (/[?#]/.test(text)) return "has a ? or # in it, so no file below it can be asked for";
  if (url.protocol === "https:" || (url.protocol === "http:" && isLoopbackHost(url.hostname)))
    return undefined;
  return "must be https, except on this machine's loopback";
}
