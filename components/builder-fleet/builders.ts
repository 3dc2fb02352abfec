import { all, ComponentResource, type ComponentResourceOptions, type Output } from "@pulumi/pulumi";
import { Builder } from "../../providers/stagex/resources/builder/resource.ts";
import { silenceFailedOutputs } from "../../pulumi-workarounds/dependency-failure.ts";
import type { ClientTls, FleetBuilder } from "./fleet-builder.ts";

/**
 * A builder of any fleet. A property that is not given comes from the builder itself, or has a
 * default.
 */
export type DeclaredBuilder = Partial<
  Undefinable<Pick<FleetBuilder, "platforms" | "slots" | "memory" | "vendor">>
> & {
  readonly name: string;
  /** An address for buildctl; or `private:1` and so on, for daemons of the state folder's own. */
  readonly address: Output<string>;
  /** Seconds to wait until the builder answers. */
  readonly wait?: number | undefined;
  readonly tls?: Omit<ClientTls, "serverName"> & { readonly serverName?: string | undefined };
};
type Undefinable<Known> = { readonly [Name in keyof Known]: Known[Name] | undefined };

/**
 * The builders of all fleets, each a `Builder`. Packages do not depend on them: a builder that does
 * not answer fails, and the others build. The provider waits for all configured builders before it
 * builds an image.
 */
export class Builders extends ComponentResource {
  readonly builders: ReadonlyMap<string, Builder>;

  constructor(name: string, members: readonly DeclaredBuilder[], options?: ComponentResourceOptions) {
    super("stagex:index:Builders", name, {}, options);
    this.builders = new Map(members.map((member) => [member.name, register(member, this)] as const));
    this.registerOutputs({});
  }
}

function register(member: DeclaredBuilder, parent: Builders): Builder {
  const { name, address, platforms, slots, memory, vendor, wait, tls } = member;
  const given = Object.fromEntries(
    Object.entries({ platforms: platforms && [...platforms], slots, memory, vendor, wait }).filter(
      ([, value]) => value !== undefined,
    ),
  );
  const credentials = tls && {
    tls: all([tls.ca, tls.certificate, tls.key]).apply(([ca, certificate, key]) => ({
      ...{ ca, certificate, key },
      ...(tls.serverName === undefined ? {} : { serverName: tls.serverName }),
    })),
  };
  const made = new Builder(name, { name, address, ...given, ...credentials }, { parent });
  silenceFailedOutputs(made);
  return made;
}
