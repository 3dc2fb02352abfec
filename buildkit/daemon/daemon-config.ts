/** The part of a daemon's configuration that depends on its machine. */
export type DaemonSettings = {
  /** Keys before the first table, one a line. */
  readonly top: string;
  /** Tables, `[worker.oci]` among them. */
  readonly tables: string;
};

/**
 * Returns a buildkitd.toml (moby/buildkit: docs/buildkitd.toml.md). All our daemons have this one,
 * private or of a fleet, so that a recipe may do the same on each.
 *
 * The gateway frontend is off: a `# syntax=` line can't load a frontend. There are no entitlements:
 * no recipe gets the host's network or more capabilities. There are no devices (CDI).
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
