import { parse } from "smol-toml";
import { expect, test } from "vitest";
import { daemonConfig } from "../../../../buildkit/daemon/daemon-config.ts";
import { buildkitdToml } from "../../../../components/builder-fleet/aws-user-data.ts";

const text = daemonConfig({ top: 'root = "/r"', tables: "[worker.oci]\n  enabled = true\n" });

test("turns the gateway frontend, devices and containerd off, and grants no entitlement", () => {
  expect(text).toContain('[frontend."gateway.v0"]\n  enabled = false\n');
  expect(text).toContain("[cdi]\n  disabled = true\n");
  expect(text).toContain("[worker.containerd]\n  enabled = false\n");
  // A key after the first table would be that table's (TOML 1.0, "Table").
  expect(text.indexOf("insecure-entitlements = []")).toBeLessThan(text.search(/^\[/m));
});

test("keeps a daemon's own settings", () => {
  expect(text).toMatch(/^root = "\/r"\n/);
  expect(text).toContain("\n[worker.oci]\n  enabled = true\n");
});

test("writes a builder's configuration as TOML, each table once, with the common part", () => {
  expect(parse(buildkitdToml({ slots: 3 }))).toMatchObject({
    "insecure-entitlements": [],
    cdi: { disabled: true },
    frontend: { "gateway.v0": { enabled: false } },
    worker: { oci: { enabled: true, "max-parallelism": 3 }, containerd: { enabled: false } },
  });
});
