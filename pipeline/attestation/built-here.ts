import type { InputKey } from "../../distro/input-key.ts";
import type { Ledger, LedgerRecord } from "../../distro/ledger/ledger.ts";
import type { Digest } from "../../oci/digest.ts";
import type { BuilderClaim } from "../../trust/signatures/simple-signing.ts";

/** An image as it is to be attested: what it was built from, and each platform's manifest. */
export type BuiltImage = {
  readonly image: string;
  readonly inputKey: InputKey;
  readonly digests: Readonly<Record<string, Digest>>;
};

/** The records of what was built: those of this state folder alone, and the ledger, to which others' may have been added. */
export type BuildLedgers = { readonly built: Ledger; readonly ledger: Ledger };

/** Why an image is not for this machine to attest. */
export class NotBuiltHereError extends Error {
  override readonly name = "NotBuiltHere";
}

/**
 * The record of having built each of these manifests from exactly these inputs here, by the manifest: several builders may each have
 * built a platform. The ledger's word is not enough: records come into it from releases, and from whoever shares it, under any
 * builder's name.
 * @throws NotBuiltHere
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
    if (!record) throw await notBuiltError(records.ledger, built, platform, digest);
    byManifest.set(digest, record);
  }
  return byManifest;
}

async function notBuiltError(
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
 * What a signature says of the builder. A CPU vendor that is not known is said to be unknown: left out, it would be taken for that of
 * the machines in the roster.
 */
export function builderClaimOf({ builder: { facts } }: LedgerRecord): BuilderClaim {
  if (!facts) return { cpuVendor: "unknown" };
  const { arch, cpuVendor, cpuModel, kernel, buildkit, go } = facts;
  const known = Object.entries({ arch, cpuModel, kernel, buildkit, go }).filter(
    ([, fact]) => fact !== undefined && fact !== "unknown",
  );
  return { ...Object.fromEntries(known), cpuVendor };
}
