import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  type BuildContext,
  type ContextRequest,
  withBuildContext,
} from "../../../../buildkit/client/context-folder.ts";
import type { ContextFile } from "../../../../distro/build-plan.ts";

let root: string;
let request: ContextRequest;

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const file = (path: string, content: string, mode: ContextFile["mode"] = "100644"): ContextFile => ({
  ...{ path, mode, sha256: sha256(content) },
});

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "stagex-unit-"));
  const folder = join(root, "package");
  await mkdir(join(folder, "patches", "deep"), { recursive: true, mode: 0o700 });
  await writeFile(join(folder, "Containerfile"), "FROM scratch\n");
  await writeFile(join(folder, "plain"), "plain", { mode: 0o600 });
  await writeFile(join(folder, "patches", "deep", "run.sh"), "run", { mode: 0o700 });
  await writeFile(join(folder, "untracked"), "untracked");
  await symlink("patches/deep/run.sh", join(folder, "link"));
  await mkdir(join(root, "sources"));
  await writeFile(join(root, "sources", "a.tar"), "archive");
  request = {
    folder,
    files: [
      file("Containerfile", "FROM scratch\n"),
      file("link", "patches/deep/run.sh", "120000"),
      file("patches/deep/run.sh", "run", "100755"),
      file("plain", "plain"),
    ],
    recipe: { path: join(folder, "Containerfile"), sha256: sha256("FROM scratch\n") },
    sources: [{ file: "a.tar", path: join(root, "sources", "a.tar") }],
    scratch: join(root, "scratch"),
  };
});

afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

const modeOf = async (path: string) => (await stat(path)).mode & 0o7777;
const placed = <T>(work: (context: BuildContext) => Promise<T>) => withBuildContext(request, work);

test("assembles the planned files and the sources, and nothing else", async () => {
  await placed(async ({ context, fetch, recipe }) => {
    const listed = (await readdir(context, { recursive: true })).toSorted();
    expect(listed).toEqual([
      "Containerfile",
      "fetch",
      "fetch/a.tar",
      "link",
      "patches",
      "patches/deep",
      "patches/deep/run.sh",
      "plain",
    ]);
    expect(await readdir(fetch)).toEqual(["a.tar"]);
    expect(await readdir(recipe)).toEqual(["Containerfile"]);
    expect(await readFile(join(context, "fetch", "a.tar"), "utf8")).toBe("archive");
    expect(await readlink(join(context, "link"))).toBe("patches/deep/run.sh");
  });
  expect(await readdir(request.scratch)).toEqual([]);
});

test("takes the modes from git, whatever the umask and the tree's modes are", async () => {
  const umask = process.umask(0o077);
  await placed(async ({ context, fetch }) => {
    expect(await modeOf(join(context, "plain"))).toBe(0o644);
    expect(await modeOf(join(context, "patches", "deep", "run.sh"))).toBe(0o755);
    for (const folder of [
      context,
      join(context, "patches"),
      join(context, "patches", "deep"),
      join(context, "fetch"),
      fetch,
    ]) {
      expect(await modeOf(folder)).toBe(0o755);
    }
  }).finally(() => process.umask(umask));
});

test("copies a source once for both of its places, with a new mode and time", async () => {
  const source = join(root, "sources", "a.tar");
  await chmod(source, 0o444);
  await utimes(source, 0, 0);
  await placed(async ({ context, fetch }) => {
    const [copy, other] = [await lstat(join(fetch, "a.tar")), await lstat(join(context, "fetch", "a.tar"))];
    expect(copy.mode & 0o7777).toBe(0o644);
    expect(copy.mtimeMs).toBeGreaterThan(1000);
    expect(other.ino).toBe(copy.ino);
    expect((await lstat(source)).ino).not.toBe(copy.ino);
  });
  expect(await modeOf(source)).toBe(0o444);
});

test.each([
  [
    "a file's content",
    () => writeFile(join(request.folder, "plain"), "other"),
    /plain changed .*planned with sha256 .*now/,
  ],
  ["the Containerfile", () => writeFile(request.recipe.path, "FROM other\n"), /Containerfile changed/],
  ["a missing file", () => rm(join(request.folder, "plain")), /plain changed .*ENOENT/],
  ["a link's target", () => relink("link", "elsewhere"), /link changed .*planned with/],
  [
    "a file that is a link now",
    () => relink("plain", "/etc/hostname"),
    /plain changed .*symbolic link, not a regular file/,
  ],
  [
    "a link that is a file now",
    () => replace("link", "patches/deep/run.sh"),
    /link changed .*no longer a symbolic link/,
  ],
])("rejects %s that has changed since planning", async (_, change, message) => {
  await change();
  await expect(placed(async () => {})).rejects.toThrow(message);
  expect(await readdir(request.scratch)).toEqual([]);
});

async function relink(name: string, target: string): Promise<void> {
  await rm(join(request.folder, name));
  await symlink(target, join(request.folder, name));
}

async function replace(name: string, content: string): Promise<void> {
  await rm(join(request.folder, name));
  await writeFile(join(request.folder, name), content);
}

test("makes a link of a file in which git keeps it on a disk without links", async () => {
  await replace("link", "patches/deep/run.sh");
  execFileSync("git", ["init", "--quiet", request.folder]);
  execFileSync("git", ["-C", request.folder, "config", "core.symlinks", "false"]);
  await placed(async ({ context }) => {
    expect(await readlink(join(context, "link"))).toBe("patches/deep/run.sh");
  });
  await replace("link", "elsewhere");
  await expect(placed(async () => {})).rejects.toThrow(/link changed .*planned with/);
});

test.each(["../outside", "/etc/passwd", "a/../../b", "a//b"])("rejects the path %s", async (path) => {
  const escaping = withBuildContext({ ...request, files: [file(path, "x")] }, async () => {});
  await expect(escaping).rejects.toThrow(/leaves the package's folder/);
});

test.each(["../a", "sub/a", ".."])("rejects the source file name %s", async (name) => {
  const sources = [{ file: name, path: join(root, "sources", "a.tar") }];
  await expect(withBuildContext({ ...request, sources }, async () => {})).rejects.toThrow(
    /must not contain a folder/,
  );
});

test("copies the recipe's ignore file along with it", async () => {
  await writeFile(join(request.folder, "Containerfile.dockerignore"), "plain\n");
  const files = [...request.files, file("Containerfile.dockerignore", "plain\n")];
  await withBuildContext({ ...request, files }, async ({ recipe }) => {
    expect(await readFile(join(recipe, "Containerfile.dockerignore"), "utf8")).toBe("plain\n");
  });
});
