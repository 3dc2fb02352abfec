import { execFileSync } from "node:child_process";
import { hash } from "node:crypto";
import { mkdirSync, rmSync, symlinkSync, truncateSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { withBuildContext } from "../../buildkit/client/context-folder.ts";
import { readTree } from "../../distro/tree/tree.ts";
import { TreeError } from "../../distro/tree-error.ts";
import { readLayout } from "../../oci/layout.ts";
import { Store } from "../../oci/store/store.ts";
import { SourceCache } from "../../sources/source-cache.ts";
import { readKit } from "../../trust/signatures/signing-kit.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";
import { packageFiles, trackedTree, writtenFolder } from "../support/builders/written-tree.ts";
import { stagex } from "../support/programs/stagex-command.ts";

/** The content of a file outside of the tree, which no message may show. */
const secret = "aws_secret_access_key = s3cr3t";

/** What somebody puts in the place of a file that is to be read: in the working tree, git has it as a file all along. */
const kinds: Readonly<Record<string, (path: string) => void>> = {
  "a link out": (path) => symlinkSync(join(writtenFolder({ credentials: secret }), "credentials"), path),
  "a link to a device": (path) => symlinkSync("/dev/zero", path),
  "a pipe": (path) => execFileSync("mkfifo", [path]),
  "a folder": (path) => mkdirSync(path),
  "a link to itself": (path) => symlinkSync(path, path),
};

/** Puts something else in a file's place. */
function replace(path: string, make: (path: string) => void): void {
  rmSync(path, { force: true });
  mkdirSync(dirname(path), { recursive: true });
  make(path);
}

async function messageOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  if (!(error instanceof Error)) throw new Error("it was taken");
  expect(error.message + String(error.stack)).not.toContain("s3cr3t");
  return error.message;
}

function tree(): string {
  const containerfile = "FROM scratch\nCOPY a.patch /\n";
  return trackedTree({
    ...packageFiles("core/x", { containerfile }),
    "packages/core/x/a.patch": "patch",
    "digests/core.txt": `${"0".repeat(64)} core-x\n`,
  });
}

for (const [kind, make] of Object.entries(kinds)) {
  for (const file of ["package.toml", "Containerfile", "a.patch"]) {
    test(`${kind} in the place of a tree's ${file} is never read`, async () => {
      const root = tree();
      replace(join(root, "packages/core/x", file), make);
      const error = await readTree(root).catch((caught: unknown) => caught);
      // What is no file any more is no part of the tree; what could be one of its links is text.
      expect(error).toBeInstanceOf(TreeError);
      expect(String(error)).not.toContain("s3cr3t");
    });
  }

  test(`${kind} in the place of a digests file is never read`, async () => {
    const root = tree();
    replace(join(root, "digests/core.txt"), make);
    const read = await readTree(root).catch((caught: unknown) => caught);
    expect(JSON.stringify(read, Object.getOwnPropertyNames(Object(read)))).not.toContain("s3cr3t");
  });

  test(`${kind} in the place of a planned context file is not built with`, async () => {
    const root = tree();
    const folder = join(root, "packages/core/x");
    const request = {
      folder,
      files: [{ path: "a.patch", mode: "100644", sha256: hash("sha256", "patch") } as const],
      recipe: {
        path: join(folder, "Containerfile"),
        sha256: hash("sha256", "FROM scratch\nCOPY a.patch /\n"),
      },
      sources: [],
      scratch: await scratchFolder(),
    };
    await expect(withBuildContext(request, async () => "built")).resolves.toBe("built");
    replace(join(folder, "a.patch"), make);
    expect(await messageOf(withBuildContext(request, async () => "built"))).toMatch(
      /a\.patch changed between/,
    );
  });

  test(`${kind} in the tree's fetch/ is no source`, async () => {
    const folder = await scratchFolder();
    replace(join(folder, "x.tar"), make);
    const cache = await SourceCache.open(await scratchFolder());
    const source = { name: "x", file: "x.tar", sha256: hash("sha256", secret), mirrors: [] };
    const message = await messageOf(cache.obtain(source, { archives: [folder] }));
    expect(message).toMatch(/left out: it is (a symbolic link|a pipe|a folder), not a regular file/);
  });

  test(`${kind} is no signing kit`, async () => {
    const file = join(await scratchFolder(), "kit.tar");
    make(file);
    expect(await messageOf(readKit(file))).toMatch(/is no kit: it is .*, not a regular file/);
  });

  for (const document of ["index.json", "oci-layout"]) {
    test(`${kind} in the place of a layout's ${document} is never read`, async () => {
      const layout = writtenFolder({
        "oci-layout": '{"imageLayoutVersion":"1.0.0"}',
        "index.json": '{"schemaVersion":2,"manifests":[]}',
      });
      replace(join(layout, document), make);
      expect(await messageOf(readLayout(layout))).toMatch(new RegExp(`${document}: is not a regular file`));
      const store = await Store.open(await scratchFolder());
      await messageOf(store.adopt(layout));
      if (document === "index.json") await expect(store.removeExport(layout)).resolves.toBeUndefined();
    });
  }
}

test("the command answers at once, without content, whatever the tree's files are", async () => {
  for (const make of Object.values(kinds)) {
    const root = tree();
    replace(join(root, "packages/core/x/package.toml"), make);
    const { code, stdout, stderr } = await stagex("show", "--all", "--tree", root);
    expect(code).toBe(2);
    expect(stdout + stderr).not.toContain("s3cr3t");
    expect(stderr).not.toMatch(/\n {4}at /);
  }
});

test.each([
  ["package.toml", 2 ** 18],
  ["Containerfile", 2 ** 20],
])("a %s without end is read up to its bound", async (file, limit) => {
  const root = tree();
  truncateSync(join(root, "packages/core/x", file), 40 * 1024 ** 3);
  await expect(readTree(root)).rejects.toThrow(`${file}: found more than ${limit} bytes`);
});

test("a context file may be larger than any buffer, and no larger than a source", {
  timeout: 300_000,
}, async () => {
  const root = tree();
  const file = join(root, "packages/core/x/a.patch");
  truncateSync(file, 0);
  truncateSync(file, 2 ** 31 + 1);
  const { images } = await readTree(root);
  const sha256 = "b8030a8ab89280935633d8d991da3d9907c0f12e8b6fc3bfc515f4d440872b6e";
  expect(images.get("core-x")?.context).toEqual([{ path: "a.patch", mode: "100644", sha256 }]);
  truncateSync(file, 9 * 1024 ** 3);
  await expect(readTree(root)).rejects.toThrow(/a\.patch: found more than 8589934592 bytes/);
});
