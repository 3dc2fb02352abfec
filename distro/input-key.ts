import { createHash } from "node:crypto";
import { type Digest, isDigest } from "../oci/digest.ts";
import type { BuildPlan, ContextFile } from "./build-plan.ts";

/**
 * The identity of everything that can change an image's bytes: a sha256, 64 hex digits. Equal keys mean equal images,
 * whoever builds them. A value of this type is safe as a file name.
 */
export type InputKey = string & { readonly __inputKey: unique symbol };

/**
 * What a dependency is: the digest that StageX publishes for it, or, for an image of several platforms, the digest of
 * each platform's manifest (`linux/amd64` -> digest). One platform written either way is the same.
 */
export type DependencyDigest = Digest | Readonly<Record<string, Digest>>;

/** Raised when what the key covers, or how it is written, changes; all keys change with it. */
const format = "stagex-input-key/1";

/**
 * Names the arguments that every build gets (compression, timestamps, ulimits, network, annotations other than name
 * and version). Raise it with any change to those that can change an image's bytes.
 */
export const buildFlags = "1";

const keyPattern = /^[0-9a-f]{64}$/;

/** Whether the text has the form of an input key. */
export function isInputKey(text: string): text is InputKey {
  return keyPattern.test(text);
}

/** Parses an input key; throws an error that quotes what was found. */
export function parseInputKey(text: string): InputKey {
  if (!isInputKey(text)) {
    throw new Error(
      `not an input key: ${JSON.stringify(text.slice(0, 100))} (expected 64 lower-case hex digits)`,
    );
  }
  return text;
}

/**
 * The input key of a build. Name and version count, as they are annotations of the manifest; so does the order of the
 * platforms, as the index lists them in it and StageX publishes the first. Mirrors, the recipe's path and the names of
 * the sources' sections do not count.
 * @throws Error if a dependency of the plan has no digest.
 */
export function inputKey(
  plan: BuildPlan,
  dependencies: Readonly<Record<string, DependencyDigest>>,
  flags: string = buildFlags,
): InputKey {
  return parseInputKey(sha256(`${format}\n${canonical(covered(plan, dependencies, flags))}`));
}

/** DESIGN's `context` property: a sha256 (64 hex digits) over the files' paths, modes and contents, in any order. */
export function contextDigest(files: readonly ContextFile[]): string {
  return sha256(`stagex-context/1\n${canonical(contextOf(files))}`);
}

function covered(
  plan: BuildPlan,
  dependencies: Readonly<Record<string, DependencyDigest>>,
  flags: string,
): Json {
  return {
    annotations: { name: plan.name, version: plan.version },
    buildArgs: plan.buildArgs,
    containerfile: plan.containerfile,
    context: contextOf(plan.context),
    dependencies: Object.fromEntries(
      plan.dependencies.map((name) => [name, dependencyOf(plan, name, dependencies)]),
    ),
    flags,
    platforms: plan.platforms,
    sources: sorted(plan.sources.map(({ file, sha256 }) => [file, sha256])),
    target: plan.target,
  };
}

function contextOf(files: readonly ContextFile[]): Json {
  return sorted(files.map(({ path, mode, sha256 }) => [path, mode, sha256]));
}

function dependencyOf(
  plan: BuildPlan,
  name: string,
  dependencies: Readonly<Record<string, DependencyDigest>>,
): Json {
  const digest = Object.hasOwn(dependencies, name) ? dependencies[name] : undefined;
  if (digest === undefined) throw new Error(`${plan.name}: no digest given for its dependency ${name}`);
  if (typeof digest === "string") return checked(plan, name, digest);
  const platforms = Object.entries(digest);
  for (const [, each] of platforms) checked(plan, name, each);
  const [only, ...more] = platforms;
  if (only === undefined) throw new Error(`${plan.name}: its dependency ${name} has no platform`);
  return more.length === 0 ? only[1] : digest;
}

/** Keys outlive their process; one made of something that merely claims to be a digest would poison a ledger. */
function checked(plan: BuildPlan, name: string, digest: string): Digest {
  if (isDigest(digest)) return digest;
  throw new Error(`${plan.name}: its dependency ${name} has no digest but ${JSON.stringify(digest)}`);
}

type Json = string | null | readonly Json[] | { readonly [name: string]: Json };

/** JSON without white space, members sorted by their UTF-16 code units as RFC 8785 (JSON Canonicalization) has it. */
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
