import { type CustomResourceOptions, secret } from "@pulumi/pulumi";
import { defineResource, type ResourceArgs } from "../../protocol/define-resource.ts";
import { builderDefinition } from "./definition.ts";

/**
 * A BuildKit daemon to build images with. Its credentials are secrets in the state.
 *
 * @example
 * ```ts
 * new Builder("west", {
 *   name: "west",
 *   address: "tcp://192.0.2.1:1234",
 *   tls: { ca, certificate: client.certificate, key: client.key },
 * });
 * ```
 */
export class Builder extends defineResource(builderDefinition) {
  constructor(
    name: string,
    args: ResourceArgs<typeof builderDefinition.inputs>,
    options?: CustomResourceOptions,
  ) {
    const { tls } = args;
    super(name, tls === undefined ? args : { ...args, tls: secret(tls) }, options);
  }
}
