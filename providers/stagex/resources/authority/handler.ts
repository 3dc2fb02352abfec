import { detailedDiff } from "../../protocol/detailed-diff.ts";
import type { ResourceHandler } from "../../protocol/handler.ts";
import { authorityDefinition } from "./definition.ts";

const rules = { ignored: [], replacing: ["commonName", "days", "generation"] };

/** Handles `stagex:index:Authority`. */
export function authorityHandler(): ResourceHandler<typeof authorityDefinition> {
  return {
    ...authorityDefinition,
    check: () => [],
    diff: (before, after) => detailedDiff(before, after, rules),
    preview: async () => ({}),

    async create({ commonName, days }) {
      // Few stacks issue certificates; the others do not load the library.
      const { createAuthority } = await import("../../../../trust/certificate-authority.ts");
      return { id: commonName, outputs: await createAuthority(commonName, days) };
    },

    update: () => Promise.reject(new TypeError("every change of an authority replaces it")),
    read: async (_id, state) => state,
    delete: async () => {},
  };
}
