import { defineResource } from "../../protocol/define-resource.ts";
import { publicationDefinition } from "./definition.ts";

/**
 * An image in registries, with its tags and signatures.
 *
 * @example
 * ```ts
 * new Publication("core-musl", {
 *   image: "core-musl",
 *   reference: "stagex/core-musl:1.2.5",
 *   tags: ["1.2.5", "latest"],
 *   digest: musl.digest,
 *   quorum: { met: quorum.met, accepted: quorum.accepted },
 *   destinations: ["docker.io/stagex"],
 * });
 * ```
 */
export class Publication extends defineResource(publicationDefinition) {}
