import { ConnectionError } from "../../../../buildkit/client/connection-error.ts";
import {
  type BuilderInputs,
  type BuilderOutputs,
  builderInputs,
  builderOutputs,
} from "../../../../config/builder-inputs.ts";
import type { CheckFailure } from "../../../../config/check-failures.ts";
import type { Context } from "../../../../pipeline/context/context.ts";
import type { BuilderConnection } from "../../../../pipeline/fleet/builder-connection.ts";
import type { Operation } from "../../../../pipeline/operation.ts";
import type { InPreview } from "../../../../pipeline/unknown-schema.ts";
import { detailedDiff } from "../../protocol/detailed-diff.ts";
import type { ResourceHandler } from "../../protocol/handler.ts";

/** The inputs in a preview, where an address or a key may be another resource's output. */
type BuilderPreview = InPreview<typeof builderInputs>;

const rules = { ignored: ["wait"], replacing: ["name"] };

/**
 * `stagex:index:Builder`: a BuildKit daemon to build with. Packages don't depend on it, so that none is rebuilt, nor waits, for a
 * builder's sake: the engine checks every resource's inputs in every run, and so this process knows its builders from Check, the
 * credentials included, whether or not anything about them changed.
 */
export function builderHandler(
  context: () => Context,
): ResourceHandler<BuilderPreview, BuilderInputs, BuilderOutputs> {
  return {
    token: "stagex:index:Builder",
    description:
      "A BuildKit daemon to build images with: where it is, what it can do, and how that was learned.",
    inputs: builderInputs,
    outputs: builderOutputs,

    check(plan) {
      const whole = builderInputs.safeParse(plan);
      const failures = strayTls(plan);
      if (whole.success && failures.length === 0) context().fleet.register(whole.data);
      return failures;
    },

    diff: (before, after) => detailedDiff(before, after, rules),

    preview: async () => ({}),

    async create(inputs, operation) {
      return { id: inputs.name, outputs: await learned(context(), inputs, operation) };
    },

    update: (_id, inputs, operation) => learned(context(), inputs, operation),

    /** One that answers no longer is as good as gone: the next up waits for it again. */
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
      // The daemon is not this resource's; one of the state folder's own ends with its last user.
    },
  };
}

async function learned(
  context: Context,
  inputs: BuilderInputs,
  operation: Operation,
): Promise<BuilderOutputs> {
  context.fleet.register(inputs);
  const bench = await context.fleet.connect(inputs.name, operation);
  warnOfClaim(inputs, bench, operation);
  const { id: witness, platforms, facts, vendorSource } = bench;
  const { buildkit, arch, cpuVendor: vendor, kernel } = facts;
  return { witness, platforms: [...platforms], buildkit, arch, vendor, vendorSource, kernel };
}

function warnOfClaim(
  { name, vendor }: BuilderInputs,
  { detectedVendor: shownVendor }: BuilderConnection,
  operation: Operation,
): void {
  if (vendor === undefined || shownVendor === undefined || shownVendor === vendor) return;
  operation.report(
    "warning",
    `${name} is declared to be ${vendor}, and its kernel says ${shownVendor}: noted as declared`,
  );
}

function strayTls({ address, tls }: BuilderPreview): CheckFailure[] {
  if (tls === undefined || typeof address !== "string" || address.startsWith("tcp://")) return [];
  return [
    { property: "tls", reason: "is for tcp:// addresses alone; the others bring their own protection" },
  ];
}
