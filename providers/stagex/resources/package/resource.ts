import { defineResource } from "../../protocol/define-resource.ts";
import { packageDefinition } from "./definition.ts";

/**
 * An image of the tree, built from exactly its inputs or found built from the same ones before.
 *
 * @example
 * ```ts
 * const musl = new Package("core-musl", {
 *   image: "core-musl",
 *   version: "1.2.5",
 *   recipe: "packages/core/musl/Containerfile",
 *   containerfile: containerfileDigest,
 *   platforms: ["linux/amd64"],
 *   buildArgs: { VERSION: "1.2.5" },
 *   context: contextDigest,
 *   sources: { "musl-1.2.5.tar.gz": sourceDigest },
 *   dependencies: { "bootstrap-stage3": stage3.reference },
 * });
 * export const digest = musl.digest;
 * ```
 */
export class Package extends defineResource(packageDefinition) {}
