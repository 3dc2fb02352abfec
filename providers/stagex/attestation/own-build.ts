import type { InputKey } from "../../../distro/input-key.ts";
import type { Ledger, LedgerRecord } from "../../../distro/ledger.ts";
import type { Digest } from "../../../oci/digest.ts";
import type { BuilderClaim } from "../../../trust/simple-signing.ts";

/** An image as it is to be attested: what it was built from, and each platform's manifest. */
export type BuiltImage = {
  readonly image: string;
  readonly inputKey: InputKey;
  readonly digests: Readonly<Record<string, Digest>>;
};

/** The records of what was built: those of this state folder alone, and the ledger, to which others' may have been added. */
export type BuildRecords = { readonly built: Ledger; readonly ledger: Ledger };

/** Why an image is not for this machine to attest. */
export class NotBuiltHere extends Error {
  override readonly name = "NotBuiltHere";
}

/**
 * The record of having built exactly these manifests from exactly these inputs here. The ledger's word is not enough: records come into
 * it from releases, and from whoever shares it, under any builder's name.
 * @throws NotBuiltHere
 */
export async function ownBuild(records: BuildRecords, built: BuiltImage): Promise<LedgerRecord> {
  const { kind, records: own } = await records.built.lookup(built.inputKey);
  const builds = own.filter(({ outcome }) => outcome === "built");
  if (kind === "contradiction") {
    const found = builds.map(({ digests }) => Object.values(digests.platforms).join(", ")).join(" and ");
    throw new NotBuiltHere(
      `${built.image} is not attested: built twice here, it came out as ${found}; what can't be reproduced is not to be signed`,
    );
  }
  const isIt = ({ image, digests }: LedgerRecord): boolean =>
    image === built.image &&
    Object.entries(built.digests).every(([platform, digest]) => digests.platforms[platform] === digest);
  const record = builds.find(isIt);
  if (record) return record;
  const others = await builders(records.ledger, built, isIt);
  throw new NotBuiltHere(
    `${built.image} is not attested: this machine has not built ${Object.values(built.digests).join(", ")} from these inputs` +
      `${others.length > 0 ? `, only ${others.join(", ")} has` : ""}. ` +
      `Build it here with: pulumi up --replace '**:Package::${built.image}'`,
  );
}

/** Whether `ownBuild` would find one. */
export async function isBuiltHere(records: BuildRecords, built: BuiltImage): Promise<boolean> {
  try {
    return (await ownBuild(records, built)) !== undefined;
  } catch (error) {
    if (error instanceof NotBuiltHere) return false;
    throw error;
  }
}

async function builders(
  ledger: Ledger,
  { inputKey }: BuiltImage,
  isIt: (record: LedgerRecord) => boolean,
): Promise<string[]> {
  const { records } = await ledger.lookup(inputKey);
  return records
    .filter((record) => record.outcome === "built" && isIt(record))
    .map(({ builder }) => builder.id);
}

/**
 * What a signature says of the builder. A CPU vendor that is not known is said to be unknown: left out, it would be taken for that of
 * the machines in the roster.
 */
export function builderClaim({ builder: { facts } }: LedgerRecord): BuilderClaim {
  if (!facts) return { cpuVendor: "unknown" };
  const { arch, cpuVendor, cpuModel, kernel, buildkit, go } = facts;
  const known = Object.entries({ arch, cpuModel, kernel, buildkit, go }).filter(
    ([, fact]) => fact !== undefined && fact !== "unknown",
  );
  return { ...Object.fromEntries(known), cpuVendor };
}
