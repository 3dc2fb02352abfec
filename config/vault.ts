import { z } from "zod";
import { isLoopbackHost } from "../lib/net/address-scope.ts";
import { parseRegistryAddress } from "../oci/registry/registry-address.ts";

const asked = z
  .enum(["before", "after"], { error: 'expected "before" or "after": before the mirrors or after them' })
  .default("before")
  .describe("Whether the place is asked before the mirrors of package.toml or after them.");

const push = z
  .boolean()
  .optional()
  .describe("Whether `stagex fetch --push` pushes to the place: true by default for folders and registries.");

/** A place of the vault, as `stagex:vault` lists it: exactly one of `folder`, `url` and `registry`. */
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
      .describe("An https server below whose URL the same files are; only read."),
    registry: z.string().min(1).optional().describe("An OCI repository, such as `registry.example/sources`."),
    asked,
    push,
  })
  .transform(({ folder, url, registry, asked, push }, context) => {
    const complain = (path: string, message: string): never => {
      context.addIssue({ code: "custom", path: path === "" ? [] : [path], message });
      return z.NEVER;
    };
    const named = [folder, url, registry].filter((one) => one !== undefined).length;
    if (named !== 1) return complain("", "expected one of folder, url and registry");
    if (folder !== undefined) {
      if (/^[a-z][a-z0-9+.-]*:\/\//i.test(folder)) return complain("folder", "this is a URL, not a folder");
      return { kind: "folder" as const, folder, asked, push: push ?? true };
    }
    if (url !== undefined) {
      if (push === true) return complain("push", "nothing is pushed to an https server; push to its folder");
      const fault = faultOfUrl(url);
      return fault === undefined ? { kind: "server" as const, url, asked } : complain("url", fault);
    }
    try {
      const repository = parseRegistryAddress(registry ?? "");
      if (!repository.includes("/")) return complain("registry", "names no repository (expected host/path)");
      return { kind: "registry" as const, repository, asked, push: push ?? true };
    } catch (error) {
      return complain("registry", error instanceof Error ? error.message : String(error));
    }
  });

/** All of them, asked in this order. */
export const vaultPlaces = z.array(vaultPlace).min(1);
export type VaultConfig = z.infer<typeof vaultPlaces>;

/** Says why sources can't be asked for below this URL; what may be a password is not quoted. */
function faultOfUrl(text: string): string | undefined {
  const url = URL.parse(text);
  if (url === null) return "is not a URL";
  if (url.username !== "" || url.password !== "") return "a user name or a password has no place in it";
  if (/[?#]/.test(text)) return "has a ? or # in it, so nothing below it can be asked for";
  if (url.protocol === "https:" || (url.protocol === "http:" && isLoopbackHost(url.hostname)))
    return undefined;
  return "must be https, except on this machine's loopback";
}
