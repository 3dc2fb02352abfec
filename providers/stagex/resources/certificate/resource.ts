import { defineResource } from "../../protocol/define-resource.ts";
import { certificateDefinition } from "./definition.ts";

/**
 * A key, and its certificate by an `Authority`.
 *
 * @example
 * ```ts
 * new Certificate("west-1", {
 *   authority: authority.certificate,
 *   authorityKey: authority.key,
 *   commonName: "west-1",
 *   names: ["west-1.example"],
 *   side: "server",
 *   days: 60,
 *   generation: 1,
 * });
 * ```
 */
export class Certificate extends defineResource(certificateDefinition) {}
