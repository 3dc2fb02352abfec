import type { CheckFailure } from "../../../../config/check-failures.ts";
import { type InPreview, unknown } from "../../../../pipeline/unknown-schema.ts";
import { detailedDiff } from "../../protocol/detailed-diff.ts";
import type { ResourceHandler } from "../../protocol/handler.ts";
import { certificateDefinition, type certificateInputs } from "./definition.ts";

const rules = {
  ignored: [],
  replacing: ["authority", "authorityKey", "commonName", "names", "side", "days", "generation"],
};

/** Handles `stagex:index:Certificate`. */
export function certificateHandler(): ResourceHandler<typeof certificateDefinition> {
  return {
    ...certificateDefinition,
    check: (plan, secrets) => checkKey(plan, secrets),
    diff: (before, after) => detailedDiff(before, after, rules),
    preview: async () => ({}),

    async create({ authority, authorityKey, ...subject }) {
      const { issueCertificate } = await import("../../../../trust/certificate-authority.ts");
      const outputs = await issueCertificate({ certificate: authority, key: authorityKey }, subject);
      return { id: subject.commonName, outputs };
    },

    update: () => Promise.reject(new TypeError("every change of a certificate replaces it")),
    read: async (_id, state) => state,
    delete: async () => {},
  };
}

/** Refuses a key that is not marked as secret: the engine would write it to its state in clear. */
function checkKey(
  { authorityKey }: InPreview<typeof certificateInputs>,
  secrets: readonly string[],
): CheckFailure[] {
  if (authorityKey === unknown || secrets.includes("authorityKey")) return [];
  const reason = "is a private key and must be secret: pass the Authority's output, or pulumi.secret(…)";
  return [{ property: "authorityKey", reason }];
}
