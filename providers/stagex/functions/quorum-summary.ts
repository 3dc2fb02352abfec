import { z } from "zod";
import type { Context } from "../../../pipeline/context/context.ts";
import type { FunctionHandler } from "../protocol/handler.ts";

/** What the quorums judged so far come to (docket.ts). */
export const quorumsOutputs = z.object({
  pending: z.record(z.string(), z.string()).describe("What each image below quorum lacks, in words."),
  fallen: z.array(z.string()).describe("Those of them that were at quorum before."),
  signatures: z.int().describe("The fewest signatures that bring all of them to quorum."),
  text: z.string().describe("All of it, for people."),
});
export type QuorumsOutputs = z.infer<typeof quorumsOutputs>;

/** `stagex:index:quorums`: sums up the run so far. Meant to be invoked when every quorum has been registered. */
export function quorumsFunction(context: () => Context): FunctionHandler {
  return {
    token: "stagex:index:quorums",
    description:
      "Which images the run that is under way found below quorum, which of them were not before, and the least that must be signed.",
    inputs: z.strictObject({}),
    outputs: quorumsOutputs,
    async call() {
      const { pending, fallen, signatures, text } = context().quorums.summary();
      return { pending: { ...pending }, fallen: [...fallen], signatures, text };
    },
  };
}
