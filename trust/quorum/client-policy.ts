import { mkdir, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { PublicKey } from "openpgp";
import type { Fingerprint } from "../openpgp/fingerprint.ts";
import type { Keyring } from "../openpgp/keyring.ts";
import { parseRepository } from "../signatures/image-reference.ts";
import { TrustError } from "../trust-error.ts";
import type { Roster } from "./roster.ts";

/**
 * More than these no client should be given: each requirement costs it a GnuPG home of its own and a look at every signature, at
 * each pull. 2 of 256 people, 3 of 23 or 4 of 12 are within it.
 */
export const maxRequirements = 256;

export type ClientPolicyInputs = {
  readonly roster: Roster;
  readonly keyring: Keyring;
  /** People who must have signed. Vendors can't be asked for: no stock client looks at them. */
  readonly threshold: number;
  /** A repository or what several begin with: `docker.io/stagex`, `registry.example/stagex/core-musl`. */
  readonly repository: string;
  /** What the signatures call it, where the images are pulled from a mirror under another name. */
  readonly signedAs?: string;
  /** Where the signatures are, `https://…` or `file:///…`; without it there is no registries.d. */
  readonly lookaside?: string;
};

/** The files, name -> content, and what a person should know of them. */
export type ClientPolicy = {
  readonly files: ReadonlyMap<string, string | Uint8Array>;
  /** The people whose keys are in it, by id. */
  readonly people: readonly string[];
  /** Those of the roster without a key that is at hand: their signatures don't count for these clients. */
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
 * The policy with which stock clients (podman, skopeo, buildah, CRI-O) ask for t of n people. policy.json can't say "t of n", but all
 * its requirements must be met, and each by any of its keys. A set of people meets one requirement for each n-t+1 of the n exactly
 * when it has t: with fewer, those who are missing make up a requirement of their own (containers-policy.json.5).
 * @param folder where the files will be: the policy names its keyrings by absolute path
 * @throws TrustError where fewer than t people have keys, or the requirements would be too many
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

/** Clients know only what is in their keyrings: a key that may be revoked has no place there. */
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

/** Writes them. Keyrings of an earlier policy are taken away: none that is not in the roster may stay. */
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
    // One that its designated revoker has revoked clients would take: they lack the revoker's key.
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
      `${threshold} of ${n} people can't be asked for: the keys at hand are of ${people.join(", ") || "nobody in the roster"}`,
    );
  }
  const requirements = combinations(n, n - threshold + 1);
  if (requirements <= maxRequirements) return;
  throw new TrustError(
    `${threshold} of ${n} people would take ${requirements} requirements, and clients are slow beyond ${maxRequirements}; ask for fewer people, or take fewer into the roster (stagex verify has no such limit)`,
  );
}

/** Clients compare names with their host: a policy for `stagex` would be one for nothing. */
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
    `${JSON.stringify(repository)} does not say which registry: write it in full, such as docker.io/stagex`,
  );
}

function combinations(n: number, k: number): number {
  let count = 1;
  for (let i = 1; i <= Math.min(k, n - k); i++) count = (count * (n - i + 1)) / i;
  return Math.round(count);
}

/** All sets of `size` elements, in the order of the elements. */
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

/** Certificates one after another: a binary keyring, as gpg --import and podman take it. */
function ringOf(certificates: readonly PublicKey[]): Uint8Array {
  return Buffer.concat(certificates.map((certificate) => certificate.write()));
}

/** containers-registries.d.5. JSON's strings are YAML's. */
function registriesFile(repository: string, lookaside: string): string {
  return `docker:\n  ${JSON.stringify(repository)}:\n    lookaside: ${JSON.stringify(lookaside)}\n`;
}
