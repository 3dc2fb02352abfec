import { changesBetween } from "../../protocol/detailed-diff.ts";
import type { CheckFailure, Handler } from "../../protocol/handler.ts";
import { unknown } from "../../protocol/property-values.ts";
import {
  type CertificateInputs,
  type CertificateOutputs,
  type CertificatePlan,
  certificateInputs,
  certificateOutputs,
  certificatePlan,
} from "./inputs.ts";

const rules = {
  ignored: [],
  replacing: ["authority", "authorityKey", "commonName", "names", "side", "days", "generation"],
};

/** `stagex:index:Certificate`: what one side of a connection to a builder shows the other. */
export function certificateHandler(): Handler<CertificatePlan, CertificateInputs, CertificateOutputs> {
  return {
    token: "stagex:index:Certificate",
    description:
      "A key and its certificate by an Authority, for a builder (server) or for who uses it (client).",
    plan: certificatePlan,
    inputs: certificateInputs,
    outputs: certificateOutputs,
    check: (plan, secrets) => exposedKey(plan, secrets),
    diff: (before, after) => changesBetween(before, after, rules),
    preview: async () => ({}),

    async create({ authority, authorityKey, ...subject }) {
      const { newCertificate } = await import("../../../../trust/certificate-authority.ts");
      const outputs = await newCertificate({ certificate: authority, key: authorityKey }, subject);
      return { id: subject.commonName, outputs };
    },

    update: () => Promise.reject(new TypeError("every change of a certificate replaces it")),
    read: async (_id, state) => state,
    delete: async () => {},
  };
}

/** The engine writes inputs to its state as they come: one that is not marked as secret would lie there for all to read. */
function exposedKey({ authorityKey }: CertificatePlan, secrets: readonly string[]): CheckFailure[] {
  if (authorityKey === unknown || secrets.includes("authorityKey")) return [];
  const reason = "is a private key, and has to be secret: pass the Authority's output, or pulumi.secret(…)";
  return [{ property: "authorityKey", reason }];
}
