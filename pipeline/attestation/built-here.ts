import type { InputKey } from "../../distro/input-key.ts";
import type { Ledger, LedgerRecord } from "../../distro/ledger/ledger.ts";
import type { Digest } from "../../oci/digest.ts";
import type { BuilderClaim } from "../../trust/signatures/simple-signing.ts";

/** An image to attest: its input key, and each platform's manifest. */
export type BuiltImage = {
  readonly image: string;
  readonly inputKey: InputKey;
  readonly digests: Readonly<Record<string, Digest>>;
};

/**
 * The build records of this state folder alone, and the ledger, which may have records by others.
 */
export type BuildLedgers = { readonly built: Ledger; readonly ledger: Ledger };

/** An image that this machine may not attest, with the reason. */
export class NotBuiltHereError extends Error {
  override readonly name = "NotBuiltHereError";
}

/**
 * Requires that each of these manifests was built here from exactly these inputs, and returns the
 * records by manifest: several builders may each have built a platform. Records in the ledger are
 * not enough: it takes them from releases and from everyone who shares it, under any builder's
 * name.
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
      `${built.image} is not attested: built twice here, it came out as ${found}; an image that can't be reproduced must not be signed`,
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
 * Returns the claim about the builder to sign. An unknown CPU vendor is named "unknown": without a
 * name, the vendor of the machines in the roster would count.
 */
export function builderClaimOf({ builder: { facts } }: LedgerRecord): BuilderClaim {
  if (!facts) return { cpuVendor: "unknown" };
  const { arch, cpuVendor, cpuModel, kernel, buildkit, go } = facts;
  const known = Object.entries({ arch, cpuModel, kernel, buildkit, go }).filter(
    ([, fact]) => fact !== undefined && fact !== "unknown",
  );
  return { ...Object.fromEntries(known), cpuVendor };
}
