import { ConnectionError } from "../../../../buildkit/client/connection-error.ts";
import { type BuilderInputs, type BuilderOutputs, builderInputs } from "../../../../config/builder-inputs.ts";
import type { CheckFailure } from "../../../../config/check-failures.ts";
import type { Context } from "../../../../pipeline/context/context.ts";
import type { BuilderConnection } from "../../../../pipeline/fleet/builder-connection.ts";
import type { Operation } from "../../../../pipeline/operation.ts";
import type { InPreview } from "../../../../pipeline/unknown-schema.ts";
import { detailedDiff } from "../../protocol/detailed-diff.ts";
import type { ResourceHandler } from "../../protocol/handler.ts";
import { builderDefinition } from "./definition.ts";

/** The inputs in a preview, where an address or a key may be another resource's output. */
type BuilderPreview = InPreview<typeof builderInputs>;

const rules = { ignored: ["wait"], replacing: ["name"] };

/**
 * Handles `stagex:index:Builder`. Packages do not depend on builders, so none is rebuilt or waits
 * because of one. The engine checks every resource's inputs in every run: so this process learns
 * its builders, with their credentials, from Check, even if nothing changed.
 */
export function builderHandler(context: () => Context): ResourceHandler<typeof builderDefinition> {
  return {
    ...builderDefinition,

    check(plan) {
      const whole = builderInputs.safeParse(plan);
      const failures = checkTls(plan);
      if (whole.success && failures.length === 0) context().fleet.register(whole.data);
      return failures;
    },

    diff: (before, after) => detailedDiff(before, after, rules),

    preview: async () => ({}),

    async create(inputs, operation) {
      return { id: inputs.name, outputs: await connect(context(), inputs, operation) };
    },

    update: (_id, inputs, operation) => connect(context(), inputs, operation),

    /** A builder that no longer answers counts as deleted: the next up waits for it again. */
    async read(_id, state, operation) {
      if (!state) return undefined;
      try {
        const found = await context().fleet.query(state.inputs, operation.signal);
        if (!found) return state;
        const outputs = { ...state.outputs, platforms: [...found.platforms], buildkit: found.version };
        return { inputs: state.inputs, outputs };
      } catch (error) {
        if (!(error instanceof ConnectionError)) throw error;
        operation.report("warning", `${state.inputs.name} does not answer: ${error.message}`);
        return undefined;
      }
    },

    async delete() {
      // The daemon does not belong to the resource. A private one ends with its last user.
    },
  };
}

async function connect(
  context: Context,
  inputs: BuilderInputs,
  operation: Operation,
): Promise<BuilderOutputs> {
  context.fleet.register(inputs);
  const connection = await context.fleet.connect(inputs.name, operation);
  warnOfDeclaredVendor(inputs, connection, operation);
  const { id: witness, platforms, facts, vendorSource } = connection;
  const { buildkit, arch, cpuVendor: vendor, kernel } = facts;
  return { witness, platforms: [...platforms], buildkit, arch, vendor, vendorSource, kernel };
}

function warnOfDeclaredVendor(
  { name, vendor }: BuilderInputs,
  { detectedVendor: shownVendor }: BuilderConnection,
  operation: Operation,
): void {
  if (vendor === undefined || shownVendor === undefined || shownVendor === vendor) return;
  operation.report(
    "warning",
    `${name} is declared to be ${vendor}, and its kernel reports ${shownVendor}: recorded as declared`,
  );
}

function checkTls({ address, tls }: BuilderPreview): CheckFailure[] {
  if (tls === undefined || typeof address !== "string" || address.startsWith("tcp://")) return [];
  return [{ property: "tls", reason: "is for tcp:// addresses only; the others bring their own protection" }];
}
