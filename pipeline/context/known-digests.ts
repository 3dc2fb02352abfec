import { z } from "zod";
import { packageOutputs } from "../package/inputs.ts";

const { digest, digests, reference, index } = packageOutputs.shape;

const knownDigests = z.strictObject({ digest, digests, reference, index: index.exactOptional() });
/** The digests that inputs are known to give. A published release tells manifests only, no index. */
export type KnownDigests = z.infer<typeof knownDigests>;

/** What ledger and store together say of an input key, and whether the store has that image. */
export const foreseenSchema = z.strictObject({ digests: knownDigests, isStored: z.boolean() });
export type Foreseen = z.infer<typeof foreseenSchema>;
