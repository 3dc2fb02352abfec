import { z } from "zod";

/**
 * What a release stack says of itself in its outputs; one that was ended before it got there says
 * nothing.
 */
export const releaseOutputs = z.object({
  /** By image: what each tag points at. */
  published: z.record(z.string(), z.record(z.string(), z.string())).default({}),
  /** By image: what its quorum lacks, in words. */
  pending: z.record(z.string(), z.string()).default({}),
});
