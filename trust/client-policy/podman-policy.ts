import { mkdir, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { PublicKey } from "openpgp";
import type { Fingerprint } from "../openpgp/fingerprint.ts";
import type { Keyring } from "../openpgp/keyring.ts";
import type { Roster } from "../quorum/roster.ts";
import { parseRepository } from "../signatures/image-reference.ts";
import { TrustError } from "../trust-error.ts";

/**
 * The most requirements in a policy. At each pull, every requirement costs a client a GnuPG home
 * and a check of every signature. 2 of 256 people, 3 of 23 or 4 of 12 are within the limit.
 */
export const maxRequirements = 256;

export type ClientPolicyInputs = {
  readonly roster: Roster;
  readonly keyring: Keyring;
  /** People who must have signed. There is no rule for vendors: stock clients ignore them. */
  readonly threshold: number;
  /**
   * A repository, or a prefix of several: `docker.io/stagex`, `registry.example/stagex/core-musl`.
   */
  readonly repository: string;
  /** Its name in the signatures, if the images are pulled from a mirror under another name. */
  readonly signedAs?: string;
  /** The lookaside, `https://…` or `file:///…`; without it no registries.d is written. */
  readonly lookaside?: string;
};

/** The files of a policy, name to content, and facts about them for people. */
export type ClientPolicy = {
  readonly files: ReadonlyMap<string, string | Uint8Array>;
  /** Ids of the people whose keys are in it. */
  readonly people: readonly string[];
  /**
   * Ids of people in the roster without a good key: their signatures don't count for these clients.
   */
  readonly peopleWithoutKeys: readonly string[];
  readonly requirements: number;
};

type Requirement = {
  readonly type: "signedBy";
  readonly keyType: "GPGKeys";
  readonly keyPaths: readonly string[];
  readonly signedIdentity:
    | { readonly type: "matchRepoDigestOrExact" }
    | { readonly type: "remapIdentity"; readonly prefix: string; readonly signedPrefix: string };
};

/**
 * Creates the policy with which stock clients (podman, skopeo, buildah, CRI-O) require t of n
 * people.
 *
 * policy.json has no "t of n". But all its requirements must be met, each by any of its keys
 * (containers-policy.json.5). So there is one requirement for every n-t+1 of the n people: t
 * signers meet all of them. With fewer signers, the people who did not sign contain a whole
 * requirement, which is not met.
 * @param folder the folder for the files: the policy names its keyrings by absolute path
 * @throws TrustError if fewer than t people have keys, or there would be more than {@link
 * maxRequirements}
 */
export function createClientPolicy(inputs: ClientPolicyInputs, folder: string): ClientPolicy {
  const { roster, keyring, threshold, repository, signedAs = repository, lookaside } = inputs;
  for (const name of [repository, signedAs]) requireFullName(name);
  requireNoDoubts(roster, keyring);
  const keys = keysByPerson(roster, keyring);
  const people = [...keys.keys()];
  requireFeasible(people, threshold);
  const keyFile = (person: string) => join("keys", `${person}.gpg`);
  const requirements = subsets(people, people.length - threshold + 1).map(
    (some): Requirement => ({
      type: "signedBy",
      keyType: "GPGKeys",
      keyPaths: some.map((person) => join(resolve(folder), keyFile(person))),
      signedIdentity: identityOf(inputs),
    }),
  );
  const policy = { default: [{ type: "reject" }], transports: { docker: { [repository]: requirements } } };
  const files = new Map<string, string | Uint8Array>([
    ["policy.json", `${JSON.stringify(policy, null, 2)}\n`],
    ...[...keys].map(([person, certificates]) => [keyFile(person), ringOf(certificates)] as const),
  ]);
  if (lookaside !== undefined)
    files.set(join("registries.d", "stagex.yaml"), registriesFile(repository, lookaside));
  return {
    files,
    people,
    peopleWithoutKeys: [...roster.keys()].filter((person) => !keys.has(person)),
    requirements: requirements.length,
  };
}

/** Refuses keys that may be revoked: clients know only their keyrings. */
function requireNoDoubts(roster: Roster, keyring: Keyring): void {
  const keys = [...roster.values()].flatMap(({ fingerprints }) => fingerprints);
  const doubts = new Set(
    keys
      .map((fingerprint) => keyring.primaryOf(fingerprint))
      .filter((primary) => keyring.certificates.has(primary))
      .flatMap((primary) => keyring.doubtsAbout(primary)),
  );
  if (doubts.size > 0)
    throw new TrustError(`no policy is written, since keys may be revoked: ${[...doubts].join("; ")}`);
}

/**
 * Writes the files, after removing the keyrings of an earlier policy: no one outside of the roster
 * may stay.
 */
export async function writeClientPolicy({ files }: ClientPolicy, folder: string): Promise<void> {
  await rm(join(folder, "keys"), { recursive: true, force: true });
  for (const [file, content] of files) {
    await mkdir(join(folder, file, ".."), { recursive: true });
    await writeFile(join(folder, file), content);
  }
}

function keysByPerson(roster: Roster, keyring: Keyring): ReadonlyMap<string, readonly PublicKey[]> {
  const found = [...roster.values()].map(({ id, fingerprints }) => {
    const primaries = new Set(fingerprints.map((fingerprint) => keyring.primaryOf(fingerprint)));
    // Clients would accept a key that its designated revoker has revoked: they lack the revoker's key.
    const isGood = (primary: Fingerprint) =>
      keyring
        .keysOf(primary)
        .some(({ fingerprint, revoked }) => fingerprint === primary && revoked === undefined);
    const good = [...primaries].filter(isGood);
    return [id, good.flatMap((primary) => keyring.certificates.get(primary) ?? [])] as const;
  });
  return new Map(found.filter(([, certificates]) => certificates.length > 0));
}

function requireFeasible(people: readonly string[], threshold: number): void {
  const n = people.length;
  if (!Number.isSafeInteger(threshold) || threshold < 1 || threshold > n) {
    throw new TrustError(
      `${threshold} of ${n} people can't be asked for: the keys at hand are of ${people.join(", ") || "no one in the roster"}`,
    );
  }
  const requirements = combinations(n, n - threshold + 1);
  if (requirements <= maxRequirements) return;
  throw new TrustError(
    `${threshold} of ${n} people would take ${requirements} requirements, and clients are slow beyond ${maxRequirements}; ask for fewer people, or take fewer into the roster (stagex verify has no such limit)`,
  );
}

/**
 * Requires the registry's host: clients compare full names, so a policy for `stagex` would apply to
 * nothing.
 */
function requireFullName(repository: string): void {
  const isFull = (() => {
    try {
      return parseRepository(repository) === repository;
    } catch {
      return false;
    }
  })();
  if (isFull) return;
  throw new TrustError(
    `${JSON.stringify(repository)} has no registry: write it in full, such as docker.io/stagex`,
  );
}

function combinations(n: number, k: number): number {
  let count = 1;
  for (let i = 1; i <= Math.min(k, n - k); i++) count = (count * (n - i + 1)) / i;
  return Math.round(count);
}

/** Returns all sets of `size` elements, in the order of the elements. */
function subsets<T>(elements: readonly T[], size: number): T[][] {
  if (size === 0) return [[]];
  return elements.flatMap((element, index) =>
    subsets(elements.slice(index + 1), size - 1).map((rest) => [element, ...rest]),
  );
}

function identityOf({ repository, signedAs }: ClientPolicyInputs): Requirement["signedIdentity"] {
  if (signedAs === undefined || signedAs === repository) return { type: "matchRepoDigestOrExact" };
  return { type: "remapIdentity", prefix: repository, signedPrefix: signedAs };
}

/** Concatenates certificates to a binary keyring, as gpg --import and podman read it. */
function ringOf(certificates: readonly PublicKey[]): Uint8Array {
  return Buffer.concat(certificates.map((certificate) => certificate.write()));
}

/** The format is that of containers-registries.d.5. JSON strings are valid YAML. */
function registriesFile(repository: string, lookaside: string): string {
  return `docker:\n  ${JSON.stringify(repository)}:\n    lookaside: ${JSON.stringify(lookaside)}\n`;
}
