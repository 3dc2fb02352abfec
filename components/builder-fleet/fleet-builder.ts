import type { Output } from "@pulumi/pulumi";

/** What a client shows a builder, and what it expects of it: mutual TLS, all in PEM. */
export type ClientTls = {
  /** The authority that signed both sides' certificates, and nothing else. */
  readonly ca: Output<string>;
  readonly certificate: Output<string>;
  /** The client's key: a secret in state, never in clear. */
  readonly key: Output<string>;
  /** The name that the builder's certificate has: its address may be a tunnel's. */
  readonly serverName: string;
};

/** The way to a builder whose build port no network reaches: a port forwarded by AWS Systems Manager. */
export type SsmTunnel = {
  readonly instance: Output<string>;
  readonly region: string;
  /** Where buildkitd listens, on the builder. */
  readonly remotePort: number;
  /** Where the builder's `address` expects the tunnel's end, on this machine. */
  readonly localPort: number;
};

/** A machine that builds: what the schedule has to know of it, and how it is reached. */
export type FleetBuilder = {
  /** Its own in the fleet, and lasting: a builder is the owner of its cache and of what it witnessed. */
  readonly name: string;
  /** Whatever buildctl takes: `unix://`, `tcp://`, `docker-container://`, `ssh://`, `kube-pod://`. */
  readonly address: Output<string>;
  /** What it builds natively, its own first: `linux/amd64`, `linux/386`. */
  readonly platforms: readonly string[];
  /** How many images it builds at once. */
  readonly slots: number;
  /** Bytes for all its builds together. */
  readonly memory: number;
  /**
   * Who made its CPU, as builder facts name it: `GenuineIntel`, `AuthenticAMD`, `ARM`. A claim, as BuildKit can't tell it; undefined
   * where nobody said.
   */
  readonly vendor: string | undefined;
  /** What kind of machine it is, as prices name it: `m8i.4xlarge`. */
  readonly machine: string;
  readonly tls?: ClientTls;
  /** Has to be open while the builder is used. */
  readonly tunnel?: SsmTunnel;
};

/** Machines to build on, wherever they are: `local`, `static` and `aws` all give this. */
export type Fleet = { readonly builders: readonly FleetBuilder[] };
