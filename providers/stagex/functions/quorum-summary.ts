import { z } from "zod";
import type { Context } from "../../../pipeline/context/context.ts";
import { quorumSummaryOutputs } from "../../../pipeline/quorum/summary-outputs.ts";
import type { FunctionHandler } from "../protocol/handler.ts";

/** `stagex:index:quorums`: sums up the run so far. Meant to be invoked when every quorum has been registered. */
export function quorumSummaryFunction(context: () => Context): FunctionHandler {
  return {
    token: "stagex:index:quorums",
    description:
      "Which images the run that is under way found below quorum, which of them were not before, and the least that must be signed.",
    inputs: z.strictObject({}),
    outputs: quorumSummaryOutputs,
    call: async () => context().quorumSummary.summary(),
  };
}
