import { type LedgerRecord, UnsafeLedgerError } from "../../distro/ledger/ledger.ts";
import type { Context } from "../context/context.ts";
import type { BuilderConnection } from "../fleet/builder-connection.ts";
import type { Operation } from "../operation.ts";
import { isDigestMismatch } from "./check-expected-digest.ts";
import type { KeyedPackage, PackageOutputs } from "./inputs.ts";
import { isAsRecorded } from "./rebuild-image.ts";

/** The platforms of an image that one builder has built. */
export type BuiltPlatforms = {
  readonly builder: Pick<BuilderConnection, "id" | "facts">;
  readonly platforms: readonly string[];
  readonly seconds: number;
  /** Bytes at the most, of the step that took the most. */
  readonly memory?: number | undefined;
};

/**
 * Records in the ledgers what one builder has built. A digest that differs from the expected one,
 * on any platform, is recorded as a mismatch: evidence that never makes the key known.
 * @param parts all by the same builder
 * @param fetches sha256 of the fetch record
 */
export async function recordBuild(
  context: Context,
  parts: readonly [BuiltPlatforms, ...BuiltPlatforms[]],
  inputs: KeyedPackage,
  outputs: PackageOutputs,
  fetches: string | undefined,
  operation: Operation,
): Promise<void> {
  const [{ builder }] = parts;
  const platforms = parts.flatMap((part) => part.platforms);
  const memory = Math.max(0, ...parts.map((part) => part.memory ?? 0));
  const isMismatch =
    (await isDigestMismatch(context, inputs, outputs)) || !(await isAsRecorded(context, inputs, outputs));
  const digests = Object.entries(outputs.digests).filter(([platform]) => platforms.includes(platform));
  const record: LedgerRecord = {
    inputKey: inputs.inputKey,
    image: inputs.image,
    digests: { index: outputs.index, platforms: Object.fromEntries(digests) },
    builder: { id: builder.id, facts: builder.facts },
    seconds: parts.reduce((sum, part) => sum + part.seconds, 0),
    ...(memory > 0 ? { memory } : {}),
    outcome: isMismatch ? "mismatch" : "built",
    finished: new Date().toISOString(),
    ...(fetches === undefined ? {} : { fetches }),
  };
  // The local ledger first: a record that others could have written is never enough to sign.
  await context.built.append(record);
  await context.ledger.append(record).catch((error: unknown) => {
    // Files that others put into the shared ledger must not stop builds.
    if (!(error instanceof UnsafeLedgerError)) throw error;
    operation.report("warning", error.message);
  });
}
