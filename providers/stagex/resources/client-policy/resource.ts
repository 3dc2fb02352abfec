import { defineResource } from "../../protocol/define-resource.ts";
import { clientPolicyDefinition } from "./definition.ts";

/**
 * The files that let stock clients require the signatures of enough maintainers.
 *
 * @example
 * ```ts
 * new ClientPolicy("policy", {
 *   folder: "policy",
 *   repository: "docker.io/stagex",
 *   lookaside: "https://signatures.example/stagex",
 *   threshold: 2,
 *   roster: rosterDigest,
 * });
 * ```
 */
export class ClientPolicy extends defineResource(clientPolicyDefinition) {}
