import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

const files = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\0")
  .filter((file) => /\.(?:ts|mjs)$/.test(file) && existsSync(join(root, file)));

/** Unit tests whose path is not that of one source file, and what each tests. */
const exceptions: Readonly<Record<string, string>> = {
  "buildkit/scheduler/scheduler-properties": "buildkit/scheduler",
  "cli/compile-cache": "cli/stagex.mjs",
  "config/loaded-files": "config",
  "distro/plan/rebuild-prediction": "distro/plan/rebuild-plan.ts",
  "distro/published/release-history": "test/oracle/prediction.ts",
  "examples/seed-tree": "examples/seed-tree",
  "examples/seed-tree-digests": "examples/seed-tree/digests",
  "pipeline/package/trusted-platforms": "pipeline/package",
  "pipeline/package/unasked-platforms": "pipeline/package",
  "providers/stagex/resources/inputs": "pipeline/unknown-schema.ts",
};

/** Where the files of a folder, or one file, are tested that have no unit test of their own. */
const testedElsewhere: Readonly<Record<string, readonly string[]>> = {
  "buildkit/client": [
    "test/build/solve.test.ts",
    "test/build/builder-faults.test.ts",
    "test/build/endpoint.test.ts",
  ],
  "buildkit/daemon": ["test/build/daemon.test.ts"],
  "buildkit/scheduler": ["test/unit/buildkit/scheduler/scheduler.test.ts"],
  "cli/commands": ["test/attacks/untrusted-text.test.ts", "test/lifecycle"],
  "cli/digests": ["test/unit/cli/commands/digests.test.ts"],
  "cli/doctor": ["test/attacks/untrusted-text.test.ts", "test/lifecycle/bootstrap.test.ts"],
  "cli/engine": ["test/lifecycle/kills.test.ts", "test/lifecycle/concurrent-runs.test.ts"],
  "cli/fetch": ["test/unit/cli/commands/fetch.test.ts"],
  "cli/output": ["test/unit/cli/commands/plan.test.ts", "test/unit/cli/stagex.test.ts"],
  "cli/plan": ["test/unit/cli/commands/plan.test.ts"],
  "cli/rehearsal": ["test/lifecycle/rehearsal.test.ts", "test/lifecycle/registry-server.test.ts"],
  "cli/sign": ["test/lifecycle/offline-signing.test.ts"],
  "cli/statements": ["test/lifecycle/statements.test.ts"],
  "cli/verify": ["test/build/verify.test.ts", "test/unit/cli/commands/verify.test.ts"],
  components: [
    "test/lifecycle/reproduce.test.ts",
    "test/lifecycle/release.test.ts",
    "test/lifecycle/attestation.test.ts",
  ],
  "components/builder-fleet": [
    "test/unit/components/builder-fleet/aws.test.ts",
    "test/lifecycle/fleet.test.ts",
  ],
  config: ["test/unit/config/schema.test.ts", "test/unit/config/fleet-plan.test.ts"],
  distro: ["test/unit/distro/tree/tree.test.ts", "test/oracle/targets.test.ts"],
  "distro/ledger": ["test/unit/distro/ledger/ledger.test.ts"],
  "distro/published": ["test/unit/distro/published/published-inputs.test.ts"],
  "distro/recipe": [
    "test/unit/distro/recipe/containerfile.test.ts",
    "test/attacks/recipe-outside-inputs.test.ts",
  ],
  "index.ts": ["test/lifecycle/trees.test.ts"],
  "lib/fs": ["test/unit/lib/fs/regular-file.test.ts", "test/attacks/linked-folders.test.ts"],
  "lib/git": ["test/unit/lib/git/git-repository.test.ts", "test/attacks/git-configured-commands.test.ts"],
  "lib/net": ["test/unit/lib/net/redirect-rule.test.ts", "test/attacks/slow-mirror.test.ts"],
  "lib/text": ["test/unit/distro/tree-error.test.ts", "test/attacks/terminal-control.test.ts"],
  oci: [
    "test/unit/oci/layout.test.ts",
    "test/build/merge-platforms.test.ts",
    "test/attacks/fuzz/image-documents.test.ts",
  ],
  "oci/registry": [
    "test/build/registry.test.ts",
    "test/build/registry-client.test.ts",
    "test/build/registry-audit.test.ts",
  ],
  "oci/store": ["test/unit/oci/store/store.test.ts", "test/build/store.test.ts"],
  pipeline: ["test/lifecycle/provider.test.ts", "test/lifecycle/forecast.test.ts"],
  "pipeline/attestation": [
    "test/lifecycle/attestation.test.ts",
    "test/attacks/unverified-dependency.test.ts",
  ],
  "pipeline/fleet": ["test/lifecycle/fleet.test.ts", "test/lifecycle/fleet-faults.test.ts"],
  "pipeline/package": ["test/lifecycle/reproduce.test.ts", "test/lifecycle/substitution.test.ts"],
  "pipeline/publication": ["test/lifecycle/publication.test.ts", "test/lifecycle/publishing-kills.test.ts"],
  "pipeline/quorum": ["test/lifecycle/quorum.test.ts"],
  "pipeline/statements": ["test/lifecycle/statements.test.ts"],
  "providers/stagex": ["test/lifecycle/provider.test.ts", "test/lifecycle/package-schema.test.ts"],
  "pulumi-workarounds": ["test/lifecycle/continue-on-error.test.ts", "test/lifecycle/kills.test.ts"],
  sources: ["test/unit/sources/source-cache.test.ts", "test/lifecycle/sources.test.ts"],
  "sources/recording": [
    "test/unit/sources/recording/recording-proxy.test.ts",
    "test/build/recipe-fetch.test.ts",
  ],
  "sources/tree": ["test/unit/sources/tree/tree-checkout.test.ts", "test/attacks/tree-signature.test.ts"],
  "sources/vault": ["test/build/vault.test.ts"],
  stacks: [
    "test/lifecycle/reproduce.test.ts",
    "test/lifecycle/release.test.ts",
    "test/lifecycle/fleet.test.ts",
  ],
  tools: ["test/lifecycle/set-up.test.ts", "test/lifecycle/bootstrap.test.ts"],
  trust: ["test/unit/trust/openpgp/keyring.test.ts", "test/unit/cli/commands/verify.test.ts"],
  "trust/openpgp": ["test/attacks", "test/unit/trust/openpgp/signing-key.test.ts"],
  "trust/quorum": [
    "test/unit/trust/quorum/missing-signatures.test.ts",
    "test/attacks/one-person-two-vendors.test.ts",
  ],
};

const isTest = (file: string): boolean => file.startsWith("test/unit/") && file.endsWith(".test.ts");
const stemOf = (file: string): string => file.replace(/^test\/unit\//, "").replace(/(?:\.test)?\.\w+$/, "");

test("a unit test has the path of what it tests, or is an exception that says what it tests", () => {
  const sources = new Set(files.filter((file) => !file.startsWith("test/")).map(stemOf));
  // Those at the top are about the whole repository.
  const strays = files
    .filter(isTest)
    .map(stemOf)
    .filter((stem) => stem.includes("/") && !sources.has(stem) && !(stem in exceptions));
  expect(strays).toEqual([]);
});

test("a source file without a unit test is in a folder whose tests are named", () => {
  const tested = new Set(files.filter(isTest).map(stemOf));
  const product = files.filter((file) => /^(?!test\/|bench\/|examples\/|[^/]*\.config\.|\.)/.test(file));
  const isNamed = (file: string) =>
    Object.keys(testedElsewhere).some((place) => file === place || file.startsWith(`${place}/`));
  expect(product.length).toBeGreaterThan(200);
  expect(product.filter((file) => !tested.has(stemOf(file)) && !isNamed(file))).toEqual([]);
});

test("what the two lists name exists", () => {
  const named = [
    ...Object.entries(exceptions).flatMap(([stem, subject]) => [`test/unit/${stem}.test.ts`, subject]),
    ...Object.entries(testedElsewhere).flatMap(([place, tests]) => [place, ...tests]),
  ];
  expect(named.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});
