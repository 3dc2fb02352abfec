import { z } from "zod";

/** What the quorums judged so far come to (quorum-summary.ts). */
export const quorumSummaryOutputs = z.object({
  pending: z.record(z.string(), z.string()).describe("What each image below quorum lacks, in words."),
  fallen: z.array(z.string()).describe("Those of them that were at quorum before."),
  signatures: z.int().describe("The fewest signatures that bring all of them to quorum."),
  text: z.string().describe("All of it, for people."),
});
export type QuorumSummaryOutputs = z.infer<typeof quorumSummaryOutputs>;
