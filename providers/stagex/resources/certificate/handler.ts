import type { CheckFailure } from "../../../../config/check-failures.ts";
import { unknown } from "../../../../pipeline/unknown-schema.ts";
import { detailedDiff } from "../../protocol/detailed-diff.ts";
import type { ResourceHandler } from "../../protocol/handler.ts";
import {
  type CertificateInputs,
  type CertificateOutputs,
  type CertificatePreview,
  certificateInputs,
  certificateOutputs,
} from "./inputs.ts";

const rules = {
  ignored: [],
  replacing: ["authority", "authorityKey", "commonName", "names", "side", "days", "generation"],
};

/** `stagex:index:Certificate`: what one side of a connection to a builder shows the other. */
export function certificateHandler(): ResourceHandler<
  CertificatePreview,
  CertificateInputs,
  CertificateOutputs
> {
  return {
    token: "stagex:index:Certificate",
    description:
      "A key and its certificate by an Authority, for a builder (server) or for who uses it (client).",
    inputs: certificateInputs,
    outputs: certificateOutputs,
    check: (plan, secrets) => exposedKey(plan, secrets),
    diff: (before, after) => detailedDiff(before, after, rules),
    preview: async () => ({}),

    async create({ authority, authorityKey, ...subject }) {
      const { issueCertificate: newCertificate } = await import("../../../../trust/certificate-authority.ts");
      const outputs = await newCertificate({ certificate: authority, key: authorityKey }, subject);
      return { id: subject.commonName, outputs };
    },

    update: () => Promise.reject(new TypeError("every change of a certificate replaces it")),
    read: async (_id, state) => state,
    delete: async () => {},
  };
}

/** The engine writes inputs to its state as they come: one that is not marked as secret would lie there for all to read. */
function exposedKey({ authorityKey }: CertificatePreview, secrets: readonly string[]): CheckFailure[] {
  if (authorityKey === unknown || secrets.includes("authorityKey")) return [];
  const reason = "is a private key, and has to be secret: pass the Authority's output, or pulumi.secret(…)";
  return [{ property: "authorityKey", reason }];
}
