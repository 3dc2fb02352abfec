import { detailedDiff } from "../../protocol/detailed-diff.ts";
import type { ResourceHandler } from "../../protocol/handler.ts";
import {
  type AuthorityInputs,
  type AuthorityOutputs,
  type AuthorityPreview,
  authorityInputs,
  authorityOutputs,
} from "./inputs.ts";

const rules = { ignored: [], replacing: ["commonName", "days", "generation"] };

/** `stagex:index:Authority`: whom the builders of one fleet and their clients trust, and nobody else does. */
export function authorityHandler(): ResourceHandler<AuthorityPreview, AuthorityInputs, AuthorityOutputs> {
  return {
    token: "stagex:index:Authority",
    description:
      "A certificate authority of one fleet's own. It exists in the stack's state alone; its key is a secret there.",
    inputs: authorityInputs,
    outputs: authorityOutputs,
    check: () => [],
    diff: (before, after) => detailedDiff(before, after, rules),
    preview: async () => ({}),

    async create({ commonName, days }) {
      // Few stacks make certificates: the others don't wait for the library.
      const { createAuthority: newAuthority } = await import("../../../../trust/certificate-authority.ts");
      return { id: commonName, outputs: await newAuthority(commonName, days) };
    },

    update: () => Promise.reject(new TypeError("every change of an authority replaces it")),
    read: async (_id, state) => state,
    delete: async () => {},
  };
}
