import { defineResource } from "../../protocol/define-resource.ts";
import { quorumDefinition } from "./definition.ts";

/**
 * The agreement of enough maintainers on an image.
 *
 * @example
 * ```ts
 * const quorum = new Quorum("core-musl", {
 *   image: "core-musl",
 *   reference: "stagex/core-musl:1.2.5",
 *   digest: musl.digest,
 *   roster: rosterDigest,
 *   threshold: 2,
 *   vendors: 2,
 *   onPending: "defer",
 * });
 * export const met = quorum.met;
 * ```
 */
export class Quorum extends defineResource(quorumDefinition) {}
