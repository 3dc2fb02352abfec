import type { CustomResourceOptions, Output } from "@pulumi/pulumi";
import { Authority } from "../../providers/stagex/resources/authority/resource.ts";
import { Certificate } from "../../providers/stagex/resources/certificate/resource.ts";

export type FleetCertificatesArgs = {
  /** The fleet's name. */
  readonly fleet: string;
  /** Days after which the next run renews all of them. */
  readonly rotateDays: number;
  readonly now: Date;
};

const day = 24 * 60 * 60 * 1000;

/**
 * The authority of a fleet, and its certificates. All are replaced when a period ends, and are
 * valid for two periods.
 */
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

  /** Issues the certificate of a builder. Its clients expect `serverName`. */
  issueServerCertificate(builder: string, serverName: string): Certificate {
    return this.#certificate(builder, [serverName], "server");
  }

  /** Issues the certificate of the fleet's clients. */
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
