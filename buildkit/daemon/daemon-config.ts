/** What of a daemon's configuration depends on where it runs. */
export type DaemonSettings = {
  /** Keys before the first table, each a line. */
  readonly top: string;
  /** Tables, `[worker.oci]` among them. */
  readonly tables: string;
};

/**
 * Returns a buildkitd.toml (moby/buildkit: docs/buildkitd.toml.md). Every daemon of ours gets it from here, private or of a fleet, so
 * that a recipe may do no more on one than on another.
 *
 * The gateway frontend is off: a `# syntax=` line can't bring a frontend from elsewhere. No entitlement is granted: no recipe gets the
 * host's network or more capabilities. No device is offered (CDI).
 */
export function daemonConfig({ top, tables }: DaemonSettings): string {
  return `${top.trimEnd()}
insecure-entitlements = []

${tables.trim()}

[cdi]
  disabled = true

[worker.containerd]
  enabled = false

[frontend."gateway.v0"]
  enabled = false
`;
}
