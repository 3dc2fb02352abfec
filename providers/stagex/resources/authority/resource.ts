import { defineResource } from "../../protocol/define-resource.ts";
import { authorityDefinition } from "./definition.ts";

/**
 * The certificate authority of one fleet.
 *
 * @example
 * ```ts
 * const authority = new Authority("west", { commonName: "west builders", days: 60, generation: 1 });
 * ```
 */
export class Authority extends defineResource(authorityDefinition) {}
