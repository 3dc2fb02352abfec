import type { Output } from "@pulumi/pulumi";

/** The client's side of mutual TLS with a builder, all in PEM. */
export type ClientTls = {
  /** The authority that signed both sides' certificates, and no others. */
  readonly ca: Output<string>;
  readonly certificate: Output<string>;
  /** The client's key, a secret in the state. */
  readonly key: Output<string>;
  /** The name in the builder's certificate: its address may be that of a tunnel. */
  readonly serverName: string;
};

/** A port that AWS Systems Manager forwards to a builder, whose build port no network reaches. */
export type SsmTunnel = {
  readonly instance: Output<string>;
  readonly region: string;
  /** The port of buildkitd on the builder. */
  readonly remotePort: number;
  /** The port of the tunnel on this machine, as in the builder's `address`. */
  readonly localPort: number;
};

/** A machine to build on, as the scheduler and its clients need to know it. */
export type FleetBuilder = {
  /**
   * The name, unique in the fleet and permanent: the builder's cache and ledger records belong to
   * it.
   */
  readonly name: string;
  /**
   * An address for buildctl: `unix://`, `tcp://`, `docker-container://`, `ssh://`, `kube-pod://`.
   */
  readonly address: Output<string>;
  /** The platforms it builds natively, its own first: `linux/amd64`, `linux/386`. */
  readonly platforms: readonly string[];
  /** The number of images it builds at once. */
  readonly slots: number;
  /** Bytes of memory for all its builds together. */
  readonly memory: number;
  /**
   * The vendor of its CPU, as builder facts name it: `GenuineIntel`, `AuthenticAMD`, `ARM`. A
   * claim: BuildKit does not report it.
   */
  readonly vendor: string | undefined;
  /** The kind of machine, as prices name it: `m8i.4xlarge`. */
  readonly machine: string;
  readonly tls?: ClientTls;
  /** The tunnel, which must be open while the builder is used. */
  readonly tunnel?: SsmTunnel;
};
