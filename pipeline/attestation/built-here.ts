import type { InputKey } from "../../distro/input-key.ts";
import type { Ledger, LedgerRecord } from "../../distro/ledger/ledger.ts";
import type { Digest } from "../../oci/digest.ts";
import type { BuilderClaim } from "../../trust/signatures/simple-signing.ts";

/** An image to attest: the key of its inputs, and the manifest of each platform. */
export type BuiltImage = {
  readonly image: string;
  readonly inputKey: InputKey;
  readonly digests: Readonly<Record<string, Digest>>;
};

/**
 * The records of this state folder's own builds, and the ledger to which others' may have been
 * added.
 */
export type BuildLedgers = { readonly built: Ledger; readonly ledger: Ledger };

/** An image that this machine may not attest; the message says why. */
export class NotBuiltHereError extends Error {
  override readonly name = "NotBuiltHere";
}

/**
 * Requires records of this state folder of having built each of these manifests from exactly these
 * inputs. Several builders may each have built a platform. The shared ledger does not suffice:
 * releases and others write to it, under any builder's name.
 * @returns the records by manifest
 * @throws NotBuiltHereError
 */
export async function requireBuiltHere(
  records: BuildLedgers,
  built: BuiltImage,
): Promise<ReadonlyMap<Digest, LedgerRecord>> {
  const { kind, records: own } = await records.built.lookUp(built.inputKey);
  const builds = own.filter(({ outcome, image }) => outcome === "built" && image === built.image);
  if (kind === "contradiction") {
    const found = builds.map(({ digests }) => Object.values(digests.platforms).join(", ")).join(" and ");
    throw new NotBuiltHereError(
      `${built.image} is not attested: built twice here, it came out as ${found}; what can't be reproduced is not to be signed`,
    );
  }
  const byManifest = new Map<Digest, LedgerRecord>();
  for (const [platform, digest] of Object.entries(built.digests)) {
    const record = builds.find(({ digests }) => digests.platforms[platform] === digest);
    if (!record) throw await notBuilt(records.ledger, built, platform, digest);
    byManifest.set(digest, record);
  }
  return byManifest;
}

async function notBuilt(
  ledger: Ledger,
  { image, inputKey }: BuiltImage,
  platform: string,
  digest: Digest,
): Promise<NotBuiltHereError> {
  const { records } = await ledger.lookUp(inputKey);
  const others = records
    .filter(
      (one) => one.outcome === "built" && one.image === image && one.digests.platforms[platform] === digest,
    )
    .map(({ builder }) => builder.id);
  return new NotBuiltHereError(
    `${image} is not attested: this machine has not built ${digest} from these inputs` +
      `${others.length > 0 ? `, only ${others.join(", ")} has` : ""}. ` +
      `Build it here with: pulumi up --replace '**:Package::${image}'`,
  );
}

/**
 * Returns the facts about the builder for a signature. An unknown CPU vendor is written as such: if
 * it were left out, the roster's machines would count.
 */
export function builderClaimOf({ builder: { facts } }: LedgerRecord): BuilderClaim {
  if (!facts) return { cpuVendor: "unknown" };
  const { arch, cpuVendor, cpuModel, kernel, buildkit, go } = facts;
  const known = Object.entries({ arch, cpuModel, kernel, buildkit, go }).filter(
    ([, fact]) => fact !== undefined && fact !== "unknown",
  );
  return { ...Object.fromEntries(known), cpuVendor };
}
