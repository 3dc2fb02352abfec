import type { CustomResourceOptions, Output } from "@pulumi/pulumi";
import { Authority } from "../../providers/stagex/resources/authority/resource.ts";
import { Certificate } from "../../providers/stagex/resources/certificate/resource.ts";

export type FleetCertificatesArgs = {
  /** The fleet's name. */
  readonly fleet: string;
  /** Days until the first run after them makes all anew. */
  readonly rotateDays: number;
  readonly now: Date;
};

const day = 24 * 60 * 60 * 1000;

/** A fleet's authority, and what it signs. All of it goes at once when a period ends, and is good for two. */
export class FleetCertificates {
  readonly authority: Authority;
  readonly #options: CustomResourceOptions;
  readonly #fleet: string;
  readonly #validity: { readonly days: number; readonly generation: number };

  constructor({ fleet, rotateDays, now }: FleetCertificatesArgs, options: CustomResourceOptions) {
    this.#fleet = fleet;
    this.#options = options;
    this.#validity = {
      days: 2 * rotateDays,
      generation: Math.floor(now.getTime() / day / rotateDays),
    };
    this.authority = new Authority(
      `${fleet}-authority`,
      { commonName: `${fleet} builders`, ...this.#validity },
      options,
    );
  }

  /** Of a builder; `serverName` is what its clients expect. */
  issueServerCertificate(builder: string, serverName: string): Certificate {
    return this.#certificate(builder, [serverName], "server");
  }

  /** Of whoever builds on the fleet. */
  issueClientCertificate(): Certificate {
    return this.#certificate("client", [], "client");
  }

  get ca(): Output<string> {
    return this.authority.certificate;
  }

  #certificate(name: string, names: string[], side: "server" | "client"): Certificate {
    const { certificate: authority, key: authorityKey } = this.authority;
    return new Certificate(
      `${this.#fleet}-${name}-certificate`,
      { authority, authorityKey, commonName: name, names, side, ...this.#validity },
      this.#options,
    );
  }
}
