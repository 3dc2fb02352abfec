import { createHash } from "node:crypto";
import { z } from "zod";
import { type Digest, isDigest } from "../oci/digest.ts";
import type { ContextFile } from "./build-plan.ts";

/**
 * The identity of everything that can change an image's bytes: a sha256, 64 hex digits. Equal keys
 * mean equal images, on every builder. A value of this type is safe as a file name.
 */
export type InputKey = string & { readonly __inputKey: unique symbol };

/**
 * All inputs of a build that can change the image's bytes. The names in records and the entries of
 * file lists count, their order does not.
 *
 * It does not cover the files that a recipe fetches in a RUN. A published release does not list
 * them, and its keys must be comparable with ours. A key must also be known before the build, but
 * only the first build finds out what is fetched. Recipes pin their fetches by their own lock
 * files, which are in the sources. Where one does not, two builders' records contradict each other,
 * and the ledger reports that.
 */
export type KeyedInputs = {
  /** The image's name and version: annotations of its manifest. */
  readonly image: string;
  readonly version: string;
  /** sha256 of the Containerfile's bytes, 64 hex digits; its path does not count. */
  readonly containerfile: string;
  /** {@link hashContext} of the files that the Containerfile can read. */
  readonly context: string;
  readonly target: string | null;
  /** In their order, in which the index lists them; StageX publishes the first. */
  readonly platforms: readonly string[];
  readonly buildArgs: Readonly<Record<string, string>>;
  /** File name and sha256 (64 hex digits) of each source, without mirrors and section names. */
  readonly sources: readonly { readonly file: string; readonly sha256: string }[];
  /** Image name to the digest of its manifest or, for several platforms, of its index. */
  readonly dependencies: Readonly<Record<string, Digest>>;
};

/**
 * The version of the keys' fields and encoding. Raise it when either changes; then all keys
 * change. Selecting a context's files more narrowly is no such change: the record of a wider
 * context is not wrong, only no longer found. Importing the release again adds the new ones.
 */
const format = "stagex-input-key/1";

/**
 * The version of the arguments that every build gets: compression, timestamps, ulimits, network,
 * and annotations other than name and version. Raise it with any change of them that can change an
 * image's bytes.
 */
export const buildFlagsVersion = "1";

const keyPattern = /^[0-9a-f]{64}$/;

/** Checks that the text has the form of an input key. */
export function isInputKey(text: string): text is InputKey {
  return keyPattern.test(text);
}

/**
 * Parses an input key.
 * @throws Error that quotes the text
 */
export function parseInputKey(text: string): InputKey {
  if (!isInputKey(text)) {
    throw new Error(
      `not an input key: ${JSON.stringify(text.slice(0, 100))} (expected 64 lower-case hex digits)`,
    );
  }
  return text;
}

/** Validates an input key that is read from outside. */
export const inputKeySchema = z.custom<InputKey>((value) => typeof value === "string" && isInputKey(value), {
  error: "not an input key (expected 64 lower-case hex digits)",
});

/**
 * Computes the input key of a build: the hash of one canonical encoding of {@link KeyedInputs}. For
 * a build plan, use inputKeyOfPlan (plan/predict-digests.ts).
 * @throws Error where a dependency has no valid digest: keys outlive their process, and a key made
 *   from a false one would poison a ledger
 */
export function computeInputKey(inputs: KeyedInputs, flags: string = buildFlagsVersion): InputKey {
  for (const [name, digest] of Object.entries(inputs.dependencies)) {
    if (!isDigest(digest))
      throw new Error(`${inputs.image}: its dependency ${name} has no digest but ${JSON.stringify(digest)}`);
  }
  const covered = {
    annotations: { name: inputs.image, version: inputs.version },
    buildArgs: inputs.buildArgs,
    containerfile: inputs.containerfile,
    context: inputs.context,
    dependencies: inputs.dependencies,
    flags,
    platforms: inputs.platforms,
    sources: sorted(inputs.sources.map(({ file, sha256 }) => [file, sha256])),
    target: inputs.target,
  };
  return parseInputKey(sha256(`${format}\n${canonical(covered)}`));
}

/** Returns a sha256 (64 hex digits) over the files' paths, modes and contents, in any order. */
export function hashContext(files: readonly ContextFile[]): string {
  const rows = sorted(files.map(({ path, mode, sha256 }) => [path, mode, sha256]));
  return sha256(`stagex-context/1\n${canonical(rows)}`);
}

type Json = string | null | readonly Json[] | { readonly [name: string]: Json };

/** Formats JSON without white space, members sorted by UTF-16 code units as in RFC 8785. */
function canonical(value: Json): string {
  if (value === null || typeof value === "string") return JSON.stringify(value);
  if (isList(value)) return `[${value.map(canonical).join(",")}]`;
  const members = Object.entries(value).sort(([a], [b]) => compare(a, b));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(",")}}`;
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

function sorted(rows: readonly (readonly string[])[]): Json {
  return rows
    .map((row) => ({ row, text: canonical(row) }))
    .sort((a, b) => compare(a.text, b.text))
    .map(({ row }) => row);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
