import { z } from "zod";

/** The summary of all quorums that a run has evaluated so far. */
export const quorumSummaryOutputs = z.object({
  pending: z.record(z.string(), z.string()).describe("Image below quorum to what it lacks, in words."),
  fallen: z.array(z.string()).describe("Those of them that were at quorum before this run."),
  signatures: z.int().describe("The fewest signatures that bring all of them to quorum."),
  text: z.string().describe("All of it as text for people."),
});
export type QuorumSummaryOutputs = z.infer<typeof quorumSummaryOutputs>;
