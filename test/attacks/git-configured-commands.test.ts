import { readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { releaseRequests } from "../../cli/verify/release-requests.ts";
import { findPublishingCommit } from "../../distro/published/release-records.ts";
import { openGitTree, resolveCommit } from "../../distro/tree/git-tree.ts";
import { readTree } from "../../distro/tree/tree.ts";
import { findTreeRelease } from "../../distro/tree/tree-release.ts";
import { runGitIn } from "../../lib/git/isolated-git.ts";
import { findFolderCommit } from "../../pipeline/statements/build-evidence.ts";
import { checkOutTree, parseTreeAddress } from "../../sources/tree/tree-checkout.ts";
import { HostileTree, hostileFolder, hostileRelease } from "../support/builders/hostile-tree.ts";
import { stagex } from "../support/programs/stagex-command.ts";

let tree: HostileTree;

beforeAll(() => {
  tree = new HostileTree();
});
afterAll(() => tree[Symbol.dispose]());

/** Calls every function that asks git about a tree. */
async function everyReading(root: string): Promise<unknown[]> {
  const commit = await resolveCommit(root, "HEAD");
  return [
    await readTree(root),
    await openGitTree(root, commit),
    await findTreeRelease(root),
    await findPublishingCommit(root),
    await findFolderCommit(root, hostileFolder),
    await releaseRequests({ release: hostileRelease, tree: root, registry: "127.0.0.1:1/stagex" }),
    await runGitIn(root, ["show", "-s", "--format=%cI", commit]),
  ];
}

/** The settings of a repository by which some command of git runs something (git-config(1)), or reads another configuration. */
function dangerous(): [string, string][] {
  const command = (name: string): [string, string] => [name, tree.command(name)];
  const program = (name: string): [string, string] => [name, tree.program(name)];
  tree.installHooks(join(tree.scratch, "hooks"));
  const included = join(tree.scratch, "included");
  writeFileSync(included, `[core]\n\tfsmonitor = "${tree.command("included")}"\n`);
  return [
    ...["core.fsmonitor", "core.editor", "core.pager", "pager.log", "pager.show", "pager.tag"].map(command),
    ...["core.sshCommand", "core.alternateRefsCommand", "sequence.editor", "credential.helper"].map(command),
    ...["filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "merge.evil.driver"].map(command),
    ...["diff.external", "diff.evil.command", "diff.evil.textconv", "interactive.diffFilter"].map(command),
    ...["remote.origin.uploadpack", "remote.origin.receivepack", "trailer.x.command", "tar.x.command"].map(
      command,
    ),
    ...["uploadpack.packObjectsHook", "gpg.program", "gpg.openpgp.program", "gpg.ssh.program"].map(program),
    ...["core.askPass", "core.gitProxy", "gpg.ssh.defaultKeyCommand", "uploadpack.advertiseBundleURIs"].map(
      program,
    ),
    ["alias.ls-files", `!${tree.command("alias")}`],
    ["core.hooksPath", join(tree.scratch, "hooks")],
    ["core.attributesFile", join(tree.scratch, "attributes")],
    ["extensions.worktreeConfig", "true"],
    ["filter.evil.required", "true"],
    ["include.path", included],
    [`includeIf.gitdir:${tree.root}/.path`, included],
    ["log.showSignature", "true"],
    ["mailmap.file", "/dev/zero"],
    ["protocol.allow", "always"],
    ["protocol.ext.allow", "always"],
    ["remote.origin.url", `ext::sh -c touch% ${tree.scratch}/marks/ext`],
    ["remote.origin.vcs", "ext"],
    ["submodule.x.update", `!${tree.command("submodule")}`],
    ["submodule.recurse", "true"],
    [`url.ext::sh -c ${tree.command("insteadOf")}.insteadOf`, "file://"],
  ];
}

/** Makes git look at every file's content, as one whose time has changed. */
function touchFiles(): void {
  utimesSync(join(tree.root, hostileFolder, "file"), new Date(), new Date());
}

test("plain git runs what such a repository names", () => {
  tree.configure(dangerous().filter(([name]) => /^(core.fsm|filter|gpg|log|diff.ext)/.test(name)));
  const tried = (...args: string[]) => {
    touchFiles();
    try {
      tree.git(...args);
    } catch {
      // Some of the programs fail.
    }
    return tree.marks();
  };
  expect(tried("ls-files")).toContain("core.fsmonitor");
  expect(tried("status").toString()).toContain("filter.evil");
  expect(tried("log", "-1")).toContain("gpg.openpgp.program");
  writeFileSync(join(tree.root, hostileFolder, "file"), "other\n");
  expect(tried("diff").toString()).toMatch(/diff|filter/);
  writeFileSync(join(tree.root, hostileFolder, "file"), "file\n");
});

test("no setting runs a program or changes an answer", async () => {
  tree.configure([]);
  const clean = await everyReading(tree.root);
  for (const setting of dangerous()) {
    tree.configure([setting]);
    touchFiles();
    expect(await everyReading(tree.root), setting[0]).toEqual(clean);
    expect(tree.marks(), setting[0]).toEqual([]);
  }
});

test("all settings together, with hooks and attributes, run nothing", async () => {
  tree.configure([]);
  const clean = await everyReading(tree.root);
  tree.installHooks(tree.path("hooks"));
  writeFileSync(tree.path("info/attributes"), "* filter=evil diff=evil\n");
  writeFileSync(tree.path("config.worktree"), `[core]\n\tfsmonitor = "${tree.command("worktree")}"\n`);
  const settings = dangerous();
  await fc.assert(
    fc.asyncProperty(fc.shuffledSubarray(settings), async (some) => {
      tree.configure(some);
      touchFiles();
      expect(await everyReading(tree.root)).toEqual(clean);
      expect(tree.marks()).toEqual([]);
    }),
    { numRuns: 8 },
  );
});

test("no stagex command and no checkout by URL runs anything of it", async () => {
  tree.configure(dangerous());
  const at = ["--tree", tree.root];
  const ledger = ["--ledger", join(tree.scratch, "ledger")];
  const commands = [
    ["show", "--all", ...at],
    ["plan", ...at, "--since", "HEAD"],
    ["why", "core-tool", ...at],
    ["ledger", "import", ...at, "--release", hostileRelease, ...ledger],
  ];
  for (const command of commands) {
    touchFiles();
    expect(await stagex(...command), command.join(" ")).toMatchObject({ code: 0 });
    expect(tree.marks(), command.join(" ")).toEqual([]);
  }
  await Promise.all([
    stagex("provenance", "core-tool", ...at, ...ledger),
    stagex("sbom", "core-tool", ...at, ...ledger),
    stagex("doctor"),
  ]);
  expect(tree.marks()).toEqual([]);
  const address = parseTreeAddress(`${pathToFileURL(tree.root).href}#${hostileRelease}`, "/");
  const checkout = await checkOutTree(address, join(tree.scratch, "cache"));
  expect(readFileSync(join(checkout, hostileFolder, "file"), "utf8")).toBe("file\n");
  await checkOutTree(address, join(tree.scratch, "cache"));
  await everyReading(checkout).catch(() => undefined);
  expect(tree.marks()).toEqual([]);
});

test("nothing that a partial clone lacks is fetched", async () => {
  const object = tree.git("rev-parse", `HEAD:${hostileFolder}/file`).trim();
  const lacking = [
    ["extensions.partialClone", "origin"],
    ["remote.origin.promisor", "true"],
    ["remote.origin.partialclonefilter", "blob:none"],
    ["protocol.allow", "always"],
    ["remote.origin.uploadpack", tree.command("upload-pack")],
  ] as const;
  rmSync(tree.path(`objects/${object.slice(0, 2)}/${object.slice(2)}`));
  for (const url of [tree.root, pathToFileURL(tree.root).href, `ext::${tree.program("helper")}`]) {
    tree.configure([...lacking, ["remote.origin.url", url]]);
    await expect(openGitTree(tree.root, await resolveCommit(tree.root, "HEAD"))).rejects.toThrow(
      "partial clone",
    );
    expect(tree.marks()).toEqual([]);
  }
});
