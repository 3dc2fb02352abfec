import { parse, TomlError } from "smol-toml";
import { z } from "zod";
import { printable } from "../../lib/text/printable.ts";
import { type CpuVendor, tryParseCpuVendor } from "../cpu-vendor.ts";
import { type Fingerprint, tryParseFingerprint } from "../openpgp/fingerprint.ts";
import { TrustError } from "../trust-error.ts";

/** A maintainer: who may attest, with which keys, from which machines. */
export type Person = {
  /** The table's name in MAINTAINERS, `ash` for `[people.ash]`: how everything here calls them. */
  readonly id: string;
  /** As they call themselves. */
  readonly name: string;
  /** As MAINTAINERS has them: of primary keys, or of subkeys. */
  readonly fingerprints: readonly Fingerprint[];
  readonly machines: readonly Machine[];
};

/** A machine that a maintainer builds on. */
export type Machine = {
  readonly id: string;
  /** Nothing where MAINTAINERS names none, or one that `cpu-vendor.ts` does not know: such a machine adds no vendor. */
  readonly cpuVendor: CpuVendor | undefined;
};

/** The people of a `MAINTAINERS` file, by id. */
export type Roster = ReadonlyMap<string, Person>;

// Only what trust depends on is looked at: StageX adds and drops members of the rest as it pleases.
const rosterSchema = z.object({
  people: z.record(z.string(), z.object({ name: z.string().optional() })),
  keys: z.record(z.string(), z.record(z.string(), z.object({ id: z.string() }))).default({}),
  machines: z
    .record(z.string(), z.record(z.string(), z.object({ brand: z.string().optional() })))
    .default({}),
});

/**
 * Reads the text of a `MAINTAINERS` file.
 * @param file what errors call it
 * @throws TrustError where it can't be read, where a key or machine is nobody's, and where one key is two people's
 */
export function parseRoster(text: string, file = "MAINTAINERS"): Roster {
  const { people, keys, machines } = parseRosterToml(text, file);
  // It is a file's name in a client's policy.
  const odd = Object.keys(people).find((id) => !/^[A-Za-z0-9_-]{1,64}$/.test(id));
  if (odd !== undefined) {
    throw new TrustError(
      `${file}: [people.${JSON.stringify(odd.slice(0, 100))}]: a person's id is letters, digits, - and _`,
    );
  }
  for (const [table, ids] of Object.entries({ keys, machines })) {
    const stray = Object.keys(ids).find((id) => !Object.hasOwn(people, id));
    if (stray !== undefined) {
      const id = stray.slice(0, 100);
      throw new TrustError(printable`${file}: [${table}.${id}] is nobody's: there is no [people.${id}]`);
    }
  }
  const roster = new Map(
    Object.entries(people).map(([id, { name = id }]): [string, Person] => [
      id,
      {
        id,
        name,
        fingerprints: Object.entries(ownEntries(keys, id)).map(([key, { id: text }]) =>
          requireFingerprint(text, printable`${file}: [keys.${id}.${key.slice(0, 100)}]`),
        ),
        machines: Object.entries(ownEntries(machines, id)).map(([machine, { brand }]) => ({
          id: machine,
          cpuVendor: tryParseCpuVendor(brand ?? ""),
        })),
      },
    ]),
  );
  keyOwners(roster, (fingerprint) => fingerprint, file);
  return roster;
}

/**
 * Whose each key is.
 * @param primaryOf the primary key that a fingerprint belongs to, a subkey's as well as its own
 * @throws TrustError where one primary key is two people's: neither can be told from the other
 */
export function keyOwners(
  roster: Roster,
  primaryOf: (fingerprint: Fingerprint) => Fingerprint,
  file = "MAINTAINERS",
): ReadonlyMap<Fingerprint, Person> {
  const owner = new Map<Fingerprint, Person>();
  for (const person of roster.values()) {
    for (const fingerprint of person.fingerprints) {
      const primary = primaryOf(fingerprint);
      const other = owner.get(primary);
      if (other !== undefined && other.id !== person.id) {
        const both = `${other.id} and ${person.id}`;
        throw new TrustError(
          `${file}: the key ${fingerprint} is under two people, ${both}; one key is one person: take it from one of them`,
        );
      }
      owner.set(primary, person);
    }
  }
  return owner;
}

function parseRosterToml(text: string, file: string): z.infer<typeof rosterSchema> {
  let toml: unknown;
  try {
    toml = parse(text);
  } catch (error) {
    // Without the library's excerpt: the file may be another than it was meant to be, and have secrets in it.
    const where = error instanceof TomlError ? `line ${error.line}, column ${error.column}: ` : "";
    const [reason = ""] = (error as Error).message.split("\n");
    throw new TrustError(`${file} is not TOML: ${where}${reason.replace(/^Invalid TOML document: /, "")}`);
  }
  const parsed = rosterSchema.safeParse(toml);
  if (parsed.success) return parsed.data;
  // Each member of a large file may be wrong, and the path to it as long as the file.
  const words = z.prettifyError({ issues: parsed.error.issues.slice(0, 10) }).slice(0, 5000);
  throw new TrustError(`${file} is not a roster as StageX has it:\n${words}`);
}

function requireFingerprint(text: string, where: string): Fingerprint {
  const fingerprint = tryParseFingerprint(text);
  if (fingerprint !== undefined) return fingerprint;
  throw new TrustError(
    `${where}: id ${JSON.stringify(text.slice(0, 100))} is no fingerprint; write all its 40 (or 64) hex digits, as gpg --fingerprint shows them`,
  );
}

function ownEntries<T>(table: Readonly<Record<string, T>>, name: string): T | Record<string, never> {
  return Object.hasOwn(table, name) ? (table[name] ?? {}) : {};
}
