import { parse, TomlError } from "smol-toml";
import { z } from "zod";
import { printable } from "../../lib/text/printable.ts";
import { type CpuVendor, tryParseCpuVendor } from "../cpu-vendor.ts";
import { type Fingerprint, tryParseFingerprint } from "../openpgp/fingerprint.ts";
import { TrustError } from "../trust-error.ts";

/** A maintainer who may sign, with their keys and machines. */
export type Person = {
  /**
   * The name of their table in MAINTAINERS, `ash` for `[people.ash]`. It identifies them everywhere
   * here.
   */
  readonly id: string;
  /** Their own name, for people. */
  readonly name: string;
  /** Fingerprints in MAINTAINERS: of primary keys, or of subkeys. */
  readonly fingerprints: readonly Fingerprint[];
  readonly machines: readonly Machine[];
};

/** A machine that a maintainer builds on. */
export type Machine = {
  readonly id: string;
  /**
   * Absent if MAINTAINERS names none, or one that `cpu-vendor.ts` does not know: such a machine
   * adds no vendor.
   */
  readonly cpuVendor: CpuVendor | undefined;
};

/** The people of a `MAINTAINERS` file, by id. */
export type Roster = ReadonlyMap<string, Person>;

// Only the members that trust depends on: StageX adds and removes others freely.
const rosterSchema = z.object({
  people: z.record(z.string(), z.object({ name: z.string().optional() })),
  keys: z.record(z.string(), z.record(z.string(), z.object({ id: z.string() }))).default({}),
  machines: z
    .record(z.string(), z.record(z.string(), z.object({ brand: z.string().optional() })))
    .default({}),
});

/**
 * Parses the text of a `MAINTAINERS` file.
 * @param file the name that errors use
 * @throws TrustError if the text is no roster, a key or machine belongs to no one, or one key
 * belongs to two people
 */
export function parseRoster(text: string, file = "MAINTAINERS"): Roster {
  const { people, keys, machines } = parseRosterToml(text, file);
  // The id becomes a file name in a client policy.
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
      throw new TrustError(
        printable`${file}: [${table}.${id}] belongs to no one: there is no [people.${id}]`,
      );
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
 * Returns the owner of each primary key.
 * @param primaryOf returns the primary key of a fingerprint, which may be a subkey's or the primary
 * key's own
 * @throws TrustError if one primary key belongs to two people: their signatures can't be told apart
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
    // Without the library's excerpt: the path may be wrong, and the file have secrets in it.
    const where = error instanceof TomlError ? `line ${error.line}, column ${error.column}: ` : "";
    const [reason = ""] = (error as Error).message.split("\n");
    throw new TrustError(`${file} is not TOML: ${where}${reason.replace(/^Invalid TOML document: /, "")}`);
  }
  const parsed = rosterSchema.safeParse(toml);
  if (parsed.success) return parsed.data;
  // A large file may have many errors, each with a path as long as the file.
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
