import { z } from "zod";

/** The outputs of a release stack. A run that ended early leaves none. */
export const releaseOutputs = z.object({
  /** By image: the digest that each tag points at. */
  published: z.record(z.string(), z.record(z.string(), z.string())).default({}),
  /** By image: a description of what its quorum lacks. */
  pending: z.record(z.string(), z.string()).default({}),
});
