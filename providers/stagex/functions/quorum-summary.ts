import { z } from "zod";
import type { Context } from "../../../pipeline/context/context.ts";
import { quorumSummaryOutputs } from "../../../pipeline/quorum/summary-outputs.ts";
import type { FunctionHandler } from "../protocol/handler.ts";

/**
 * Handles `stagex:index:quorums`: sums up the run so far. Programs invoke it once every quorum is
 * registered.
 */
export function quorumSummaryFunction(context: () => Context): FunctionHandler {
  return {
    token: "stagex:index:quorums",
    description:
      "Sums up the current run: the images below quorum, those of them that were at quorum before, and the fewest missing signatures.",
    inputs: z.strictObject({}),
    outputs: quorumSummaryOutputs,
    call: async () => context().quorumSummary.summary(),
  };
}
