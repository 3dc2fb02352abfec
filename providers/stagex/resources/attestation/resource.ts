import { defineResource } from "../../protocol/define-resource.ts";
import { attestationDefinition } from "./definition.ts";

/**
 * A maintainer's signed statement that an image was built here.
 *
 * @example
 * ```ts
 * new Attestation("core-musl", {
 *   image: "core-musl",
 *   reference: "stagex/core-musl:1.2.5",
 *   digests: musl.digests,
 *   inputKey: musl.inputKey,
 *   person: "ash",
 * });
 * ```
 */
export class Attestation extends defineResource(attestationDefinition) {}
