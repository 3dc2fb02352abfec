import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ended, flipByte, Project, publishedDigests } from "../support/builders/project.ts";
import { describeReal, realTool } from "../support/real-tools.ts";

/** No daemon answers there, so every request to BuildKit fails. */
const nobody = { BUILDKIT_HOST: "unix:///nonexistent/buildkitd.sock" };

describeReal("a tree is reproduced on the real engine and the real BuildKit", () => {
  let project: Project;
  let images: string[];

  beforeAll(async () => {
    project = await Project.create();
    images = Object.keys(await publishedDigests(project.tree)).sort();
  });

  afterAll(async () => {
    await project[Symbol.asyncDispose]();
  });

  test("a preview creates every image, and builds none", async () => {
    const { code, output } = await project.run(["preview", "--stack", "test"], nobody);
    expect(output).toContain(`+ ${images.length + 2} to create`);
    expect(output).toContain(
      `${images.length} will build, 0 may be cut off, 0 from the ledger, 0 unchanged.`,
    );
    expect(code).toBe(0);
  });

  test("the first up builds every image, each equal to the published digest", async () => {
    const { code, output, built } = await project.up();
    expect(output).toContain(`+ ${images.length + 2} created`);
    expect(code).toBe(0);
    expect(built).toEqual(images);
    expect(await project.digests()).toEqual(await publishedDigests(project.tree));
  });

  test("out/ holds each image as StageX's own scripts read it", async () => {
    for (const [image, digest] of Object.entries(await publishedDigests(project.tree))) {
      const folder = join(project.folder, "out", image);
      const read = async (path: string) => JSON.parse(await readFile(join(folder, path), "utf8"));
      const [index] = (await read("index.json")).manifests;
      const [manifest] = (await read(`blobs/sha256/${index.digest.slice(7)}`)).manifests;
      expect(manifest.digest).toBe(digest);
    }
  });

  test("the second up builds nothing, and never asks BuildKit", async () => {
    const { code, output, built } = await project.up(["--refresh"], nobody);
    expect(output).toContain(`${images.length + 2} unchanged`);
    expect(code).toBe(0);
    expect(built).toEqual([]);
  });

  test("the state holds no absolute path, no time of ours and no temporary name", async () => {
    const state = await project.state();
    const deployment = JSON.parse(state).deployment;
    for (const resource of deployment.resources) {
      const kept = JSON.stringify([
        resource.inputs,
        resource.outputs,
        resource.sourcePosition,
        resource.stackTrace,
      ]);
      expect(kept).not.toContain(project.folder);
      expect(kept).not.toMatch(/"\/|file:\/|seconds|\/tmp\//);
    }
  });

  test("the state has where the program registers each package", async () => {
    const { resources } = JSON.parse(await project.state()).deployment;
    const positions = (resources as { type: string; sourcePosition?: string }[])
      .filter(({ type }) => type === "stagex:index:Package")
      .map(({ sourcePosition }) => sourcePosition);
    expect(positions).toHaveLength(images.length);
    for (const position of positions)
      expect(position).toMatch(/^project:\/\/\/components\/package-tree\.ts#/);
  });

  test("a mirror or a description changes nothing", async () => {
    await project.edit("packages/core/sh/package.toml", (text) =>
      text.replace(/description = ".*"/, 'description = "Another"'),
    );
    const { output, built } = await project.up(["--expect-no-changes"], nobody);
    expect(output).toContain("unchanged");
    expect(built).toEqual([]);
    await project.git("checkout", "--quiet", ".");
  });

  test("a comment in a low Containerfile rebuilds that image alone: its digest is the same, so its dependents are cut off", async () => {
    await project.edit("packages/core/stem/Containerfile", (text) => `# A comment.\n${text}`);
    const preview = await project.run(["preview", "--diff", "--stack", "test"]);
    expect(preview.output).toMatch(/~ containerfile: "sha256:[0-9a-f]{64}" => "sha256:[0-9a-f]{64}"/);
    const dependents = await dependentsOf(project, "core-stem");
    const [may, rest] = [dependents.length - 1, images.length - dependents.length];
    expect(preview.output).toContain(
      `1 will build, ${may} may be cut off, 0 from the ledger, ${rest} unchanged.`,
    );
    expect(preview.output).toMatch(/Most is caused by core-stem \(\d+ images\)/);
    const { code, output, built } = await project.up();
    expect(output).toContain("1 updated");
    expect(code).toBe(0);
    expect(built).toEqual(["core-stem"]);
    expect(await project.digests()).toEqual(await publishedDigests(project.tree));
  });

  test("going back to the old Containerfile builds nothing: the ledger knows it", async () => {
    await project.git("checkout", "--quiet", ".");
    const preview = await project.run(["preview", "--stack", "test"], nobody);
    expect(preview.output).toContain("1 to update");
    expect(preview.output).toContain(
      `0 will build, 0 may be cut off, 1 from the ledger, ${images.length - 1} unchanged.`,
    );
    const { code, output } = await project.up([], nobody);
    expect(output).toContain("1 updated");
    expect(code).toBe(0);
  });

  test("another output than the published one fails its image, and nothing is built from it", async () => {
    await project.set("verify", "all");
    await project.edit("packages/core/filesystem/Containerfile", (text) => text.replace("NAME=", "SURNAME="));
    const { code, output, built } = await project.up(["--continue-on-error"]);
    expect(code).not.toBe(0);
    expect(output).toContain(
      "core-filesystem: its digest is not the one that the tree publishes in digests/core.txt",
    );
    expect(output).toContain("pulumi config set stagex:verify release");
    expect(output).toMatch(/first difference: layer \d+: etc\/os-release: /);
    expect(built).toEqual(["core-filesystem"]);
    expect(await readdir(join(project.folder, "out"))).toEqual(expect.arrayContaining(images));
  });

  test("without comparing, exactly the dependents of a changed image are built", async () => {
    await project.set("verify", "false");
    const preview = await project.run(["preview", "--diff", "--stack", "test"]);
    expect(preview.output).toMatch(/core-filesystem: "sha256:[0-9a-f]{64}" => \[unknown\]/);
    const { code, built } = await project.up();
    expect(code).toBe(0);
    expect(built).toEqual(await dependentsOf(project, "core-filesystem"));
    expect(built.length).toBeGreaterThan(2);
    expect(built.length).toBeLessThan(images.length);
    await project.run(["config", "rm", "stagex:verify", "--stack", "test"]);
    await project.git("checkout", "--quiet", ".");
    const back = await project.up([], nobody);
    expect(back.code).toBe(0);
    expect(await project.digests()).toEqual(await publishedDigests(project.tree));
  });

  test("an image of changed inputs is new and kept, as is what comes out otherwise for it; all others are held", async () => {
    await project.set("verify", "release");
    const published = await publishedDigests(project.tree);
    const words = `new, was ${published["core-filesystem"]}`;
    await project.edit("packages/core/filesystem/Containerfile", (text) =>
      text.replace("NAME=", "FORENAME="),
    );
    const dependents = await dependentsOf(project, "core-filesystem");
    const preview = await project.run(["preview", "--stack", "test"], nobody);
    expect(preview.output).toContain(`core-filesystem: ${words}`);
    const [open, held] = [dependents.length - 1, images.length - dependents.length];
    expect(preview.output).toContain(
      `1 new (core-filesystem), ${open} may be new, by what they are built from, ${held} held against their published digests.`,
    );
    const { code, output } = await project.stagexStart(["--no-rehearsal"]);
    expect(code, output).toBe(0);
    expect(output).toMatch(new RegExp(`core-filesystem +sha256:[0-9a-f]{64} +built +[0-9.]+ +${words}`));
    const outputs = JSON.parse(
      (await project.run(["stack", "output", "--json", "--stack", "test"])).output,
    ) as { images: Record<string, string>; new: Record<string, string>; verified: number };
    const others = images.filter((image) => outputs.images[image] !== published[image]);
    expect(others).toContain("core-filesystem");
    expect(dependents).toEqual(expect.arrayContaining(others));
    expect(outputs.new).toEqual(Object.fromEntries(others.map((name) => [name, `was ${published[name]}`])));
    expect(outputs.verified).toBe(images.length - others.length);
    const again = await project.up(["--expect-no-changes"], nobody);
    expect(again.code, again.output).toBe(0);
  });

  test("what was new fails once every image is to be held, and what is the same does not", async () => {
    await project.set("verify", "all");
    const { code, output } = await project.up([], nobody);
    expect(output).toContain("core-filesystem: its digest is not the one that the tree publishes");
    expect(code).not.toBe(0);
    await project.run(["config", "rm", "stagex:verify", "--stack", "test"]);
  });

  test("an image that is built anew and comes out the same is said to", async () => {
    await project.set("rebuild", '["sh"]');
    const { code, output, built } = await project.up();
    expect(built).toEqual(["core-sh"]);
    expect(output).toContain("core-sh: rebuilt without cache, equal to what the ledger has: sha256:");
    expect(code).toBe(0);
  });

  test("one that comes out otherwise fails as not reproducible, and the ledger keeps both", async () => {
    const liar = { PATH: `${await lyingClient("core-sh")}${delimiter}${process.env.PATH}` };
    const before = (await project.digests())["core-sh"];
    const { code, output } = await project.up([], liar);
    expect(output).toContain("core-sh: not reproducible for linux/amd64: the same inputs gave another image");
    expect(output).toContain(`before:  ${before}`);
    const rebuilt = /rebuilt: (sha256:[0-9a-f]{64})/.exec(output)?.[1];
    expect(output).toContain("first difference: config");
    expect(code).not.toBe(0);
    await project.run(["config", "rm", "stagex:rebuild", "--stack", "test"]);
    const told = await ended(project.startStagex(["ledger", "show", "core-sh"]));
    expect(told.output).toContain(`${rebuilt}  `);
    expect(told.output).toMatch(new RegExp(`${rebuilt} .*another digest was expected`));
    expect(told.output).toContain(`${before}  `);
    const again = await project.up([], nobody);
    expect(again.code, again.output).toBe(0);
  });

  test("beside one that is new, an unchanged image that a builder alters fails", async () => {
    const liar = { PATH: `${await lyingClient("core-stem")}${delimiter}${process.env.PATH}` };
    await forget("core-stem");
    const { code, output, built } = await project.up(["--replace", urnOf("core-stem")], liar);
    expect(built).toEqual(["core-stem"]);
    expect(output).toContain("core-stem: its digest is not the one that the tree publishes");
    expect(output).toMatch(/Its inputs are those that commit [0-9a-f]{40} published the digest of/);
    expect(code).not.toBe(0);
    await project.git("checkout", "--quiet", ".");
    const honest = await project.up(["--replace", urnOf("core-stem")]);
    expect(honest.code, honest.output).toBe(0);
    expect(honest.built).toEqual(["core-stem"]);
    expect(await project.digests()).toEqual(await publishedDigests(project.tree));
  });

  /** Removes what is recorded of an image, so that it is built where something asks for it. */
  async function forget(image: string): Promise<void> {
    for (const ledger of ["ledger", "built"].map((name) => join(project.folder, ".stagex", name)))
      for (const file of await readdir(ledger, { recursive: true })) {
        const path = join(ledger, file);
        if (file.endsWith(".json") && JSON.parse(await readFile(path, "utf8")).image === image)
          await rm(path);
      }
  }

  /** A folder with a buildctl whose builds of an image have a label more than its recipe. */
  async function lyingClient(image: string): Promise<string> {
    const folder = join(project.folder, "lying");
    await mkdir(folder, { recursive: true });
    const script = `#!/bin/sh
case "$*" in
*dest=*) case "$*" in *name=stagex/${image}:*) exec ${realTool("buildctl")} "$@" --opt label:lie=1 ;; esac ;;
esac
exec ${realTool("buildctl")} "$@"
`;
    await writeFile(join(folder, "buildctl"), script, { mode: 0o755 });
    return folder;
  }

  test("a flipped byte in a stored blob is found by refresh, named, and only its image is built again", async () => {
    const digests = await project.digests();
    const manifest = JSON.parse(await readFile(blobPath(project, digests["user-hello"] ?? ""), "utf8"));
    await flipByte(blobPath(project, manifest.layers.at(-1).digest));
    const { code, output, built } = await project.up(["--refresh"]);
    expect(output).toContain(`${manifest.layers.at(-1).digest.slice(7)}: `);
    expect(output).toContain("user-hello is built again by the next up");
    expect(code).toBe(0);
    expect(built).toEqual(["user-hello"]);
    expect(await project.digests()).toEqual(await publishedDigests(project.tree));
  });

  test("a damaged dependency is never built from", async () => {
    const digests = await project.digests();
    const manifest = JSON.parse(await readFile(blobPath(project, digests["core-libstem"] ?? ""), "utf8"));
    await flipByte(blobPath(project, manifest.layers.at(-1).digest));
    await project.edit("packages/user/tree/Containerfile", (text) => `# A comment.\n${text}`);
    const { code, output } = await project.up();
    expect(code).not.toBe(0);
    expect(output).toMatch(/its dependency [a-z-]+ \(sha256:[0-9a-f]{64}\) is not whole in the store/);
    expect(output).toContain("pulumi up --refresh");
    await project.git("checkout", "--quiet", ".");
    expect((await project.up(["--refresh"])).code).toBe(0);
  });

  test("a flipped byte in a source archive is found and named; with the right one back, it builds", async () => {
    const archive = join(project.tree, "fetch/user/hello/hello-1.0.0.tar");
    await flipByte(archive);
    await rm(join(project.folder, "cache/sources"), { recursive: true, force: true });
    await project.edit("packages/user/hello/Containerfile", (text) => `# A comment.\n${text}`);
    const { code, output } = await project.up();
    expect(code).not.toBe(0);
    expect(output).toContain("source hello-1.0.0.tar");
    expect(output).toMatch(/fetch\/user\/hello\/hello-1\.0\.0\.tar has sha256 [0-9a-f]{64}/);
    await project.git("checkout", "--quiet", "fetch");
    expect((await project.up()).built).toEqual(["user-hello"]);
    await project.git("checkout", "--quiet", ".");
  });

  test("a flipped digit in a published digest fails that image alone", async () => {
    await project.up([], nobody);
    await project.edit("digests/user.txt", (text) =>
      text.replace(/^(.)(.*user-book)$/m, (_, first, rest) => `${first === "0" ? "1" : "0"}${rest}`),
    );
    const { code, output } = await project.up();
    expect(code).not.toBe(0);
    expect(output).toContain(
      "user-book: its digest is not the one that the tree publishes in digests/user.txt",
    );
    await project.git("checkout", "--quiet", ".");
    expect((await project.up([], nobody)).code).toBe(0);
  });

  test("the digest of an index, as StageX published it before 2025.06.1, is told from another image's", async () => {
    const text = await readFile(join(project.folder, "out/user-book/index.json"), "utf8");
    const index: string = JSON.parse(text).manifests[0].digest;
    await project.edit("digests/user.txt", (digests) =>
      digests.replace(/^.*(?= user-book$)/m, index.slice(7)),
    );
    const { code, output } = await project.up();
    expect(code).not.toBe(0);
    expect(output).toContain("what is published is the digest of its index, which is the same");
    await project.git("checkout", "--quiet", ".");
    expect((await project.up([], nobody)).code).toBe(0);
  });

  test("only the chosen images and what they are built from are there", async () => {
    await project.set("images", '["pallet-*"]');
    const preview = await project.run(["preview", "--stack", "test"], nobody);
    expect(preview.output).toMatch(/- \d+ to delete/);
    expect(preview.output).not.toMatch(/pallet-\w+ delete/);
    await project.set("images", '["core-shh"]');
    const unknown = await project.run(["preview", "--stack", "test"], nobody);
    expect(unknown.code).not.toBe(0);
    expect(unknown.output).toContain("core-sh");
    await project.run(["config", "rm", "stagex:images", "--stack", "test"]);
  });

  test("a wrong configuration is said at once, by key, without a stack trace", async () => {
    await project.set("verify", "perhaps");
    const { code, output } = await project.run(["preview", "--stack", "test"], nobody);
    expect(code).not.toBe(0);
    expect(output).toContain('stagex:verify: found "perhaps", expected "release", "all" or false');
    expect(output).not.toContain("    at ");
    // Nor is a provider started with it, whose refusal would end the run under the program.
    expect(output).not.toContain("pulumi:providers");
    await project.run(["config", "rm", "stagex:verify", "--stack", "test"]);
  });

  test("an image that was built elsewhere into out/ is imported", async () => {
    const { code: removed } = await project.run([
      "state",
      "delete",
      urnOf("user-book"),
      "--yes",
      "--stack",
      "test",
    ]);
    expect(removed).toBe(0);
    const imported = await project.run([
      "import",
      "stagex:index:Package",
      "user-book",
      "user-book",
      "--yes",
      "--stack",
      "test",
      "--generate-code=false",
    ]);
    expect(imported.output).toContain("1 imported");
    expect(imported.code).toBe(0);
    const absent = await project.run([
      "import",
      "stagex:index:Package",
      "user-x",
      "user-x",
      "--yes",
      "--stack",
      "test",
      "--generate-code=false",
    ]);
    expect(absent.output).toContain('the tree has no image "user-x"');
    await project.run(["state", "unprotect", "--all", "--yes", "--stack", "test"]);
    expect((await project.up([], nobody)).code).toBe(0);
  });

  test("what the destruction of another stack takes out of out/ is seen, said, and laid out again without a build", async () => {
    await project.run(["stack", "init", "other", "--no-select"]);
    await project.set("tree", "tree", "other");
    await project.set("images", '["bootstrap-hex1"]', "other");
    const own = ["--stack", "other"];
    const first = await project.run(["preview", ...own], nobody);
    expect(first.output).toContain(" 2 from the ledger,");
    // Nothing has been held against anything yet.
    expect(first.output).toMatch(/verified *: \[unknown\]/);
    const other = await project.run(["up", "--yes", "--skip-preview", ...own], nobody);
    expect(other.code, other.output).toBe(0);
    const destroyed = await project.run(["destroy", "--yes", "--skip-preview", ...own], nobody);
    expect(destroyed.code, destroyed.output).toBe(0);
    const taken = ["bootstrap-hex0", "bootstrap-hex1"];
    const laidOut = async () => (await readdir(join(project.folder, "out"))).sort();
    expect(await laidOut()).toEqual(images.filter((image) => !taken.includes(image)));
    const preview = await project.run(["preview", "--stack", "test"], nobody);
    expect(preview.output).toContain(`~ ${taken.length} to update`);
    expect(preview.output).toContain(
      "Not in out/ any more, and laid out there again without being built: bootstrap-hex0, bootstrap-hex1.",
    );
    expect(preview.output).toContain(
      `0 will build, 0 may be cut off, 0 from the ledger, ${images.length} unchanged.`,
    );
    // Even where the ledger is gone, nothing is built for it.
    await rename(join(project.folder, ".stagex/ledger"), join(project.folder, "ledger"));
    const up = await project.up([], nobody);
    await rename(join(project.folder, "ledger"), join(project.folder, ".stagex/ledger"));
    expect(up.code, up.output).toBe(0);
    expect(up.output).toContain(`~ ${taken.length} updated`);
    expect(await laidOut()).toEqual(images);
    const again = await project.up(["--expect-no-changes"], nobody);
    expect(again.code, again.output).toBe(0);
  });

  test("destroy takes the images out of out/, and leaves the store to others", async () => {
    const { code } = await project.run(["destroy", "--yes", "--skip-preview", "--stack", "test"], nobody);
    expect(code).toBe(0);
    expect(await readdir(join(project.folder, "out"))).toEqual([]);
    const again = await project.up([], nobody);
    expect(again.code, again.output).toBe(0);
    expect(await project.digests()).toEqual(await publishedDigests(project.tree));
  });
});

function blobPath(project: Project, digest: string): string {
  return join(project.folder, ".stagex/store/blobs/sha256", digest.slice("sha256:".length));
}

function urnOf(image: string): string {
  return `urn:pulumi:test::stagex::stagex:index:PackageTree$stagex:index:Package::${image}`;
}

/** An image and all that is built from it, directly or not, read from the Containerfiles as a person would. */
async function dependentsOf(project: Project, changed: string): Promise<string[]> {
  const { output } = await project.run(["stack", "export", "--stack", "test"]);
  const resources = JSON.parse(output).deployment.resources as {
    id?: string;
    inputs?: { dependencies?: object };
  }[];
  const found = new Set([changed]);
  for (let size = 0; size < found.size; ) {
    size = found.size;
    for (const { id, inputs } of resources) {
      const dependencies = Object.keys(inputs?.dependencies ?? {});
      if (id && dependencies.some((name) => found.has(name))) found.add(id);
    }
  }
  return [...found].sort();
}
