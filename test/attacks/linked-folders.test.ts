import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { SourceCache } from "../../sources/source-cache.ts";
import { FolderVault } from "../../sources/vault/folder-vault.ts";
import { parseRepository } from "../../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../../trust/signatures/lookaside-folder.ts";
import { signatureFolder } from "../../trust/signatures/signature-file.ts";
import { image } from "../support/builders/maintainers.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";

const { digest } = image;
const repository = parseRepository("stagex/core-seed");
const place = signatureFolder(repository, digest);

/**
 * Makes a lookaside in which one of an image's folders is a link to one elsewhere. That has a
 * signature and an old draft.
 */
async function linkedAt(path: string) {
  const [root, elsewhere] = [await scratchFolder(), await scratchFolder()];
  const target = join(elsewhere, place.slice(path.length));
  mkdirSync(target, { recursive: true });
  writeFileSync(join(target, "signature-1"), "elsewhere");
  writeFileSync(join(target, ".new-kept"), "kept");
  utimesSync(join(target, ".new-kept"), 1, 1);
  mkdirSync(dirname(join(root, path)), { recursive: true });
  symlinkSync(elsewhere, join(root, path));
  return { lookaside: new LookasideFolder(root), target };
}

test.each([
  ["the image's own folder", place],
  ["a folder above it", "stagex"],
])("a lookaside in which %s is a link is neither read nor written through it", async (_, path) => {
  const { lookaside, target } = await linkedAt(path);
  const read = await lookaside.read(repository, digest);
  expect(read).toMatchObject([{ file: path, rejection: { code: "not-a-file" } }]);
  await expect(lookaside.write(repository, digest, Buffer.from("mine"))).rejects.toThrow(
    `${path} is a symbolic link`,
  );
  expect(readdirSync(target).sort()).toEqual([".new-kept", "signature-1"]);
});

test("reads a lookaside whose own folder is a link, as its user made it", async () => {
  const [root, folder] = [await scratchFolder(), await scratchFolder()];
  symlinkSync(folder, join(root, "signatures"));
  const lookaside = new LookasideFolder(join(root, "signatures"));
  await lookaside.write(repository, digest, Buffer.from("mine"));
  expect(existsSync(join(folder, place, "signature-1"))).toBe(true);
  expect(await lookaside.read(repository, digest)).toMatchObject([{ file: "signature-1" }]);
});

test.each(["partial", "sha256", "sha256/2b"])(
  "a vault in which %s is a link is neither swept nor written through it",
  async (path) => {
    const [root, elsewhere] = [await scratchFolder(), await scratchFolder()];
    const bytes = Buffer.from("secret");
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    expect(sha256.slice(0, 2)).toBe("2b");
    const file = join(elsewhere, "source");
    mkdirSync(join(elsewhere, "home"));
    writeFileSync(join(elsewhere, "home/kept"), "kept");
    writeFileSync(file, bytes);
    mkdirSync(dirname(join(root, path)), { recursive: true });
    symlinkSync(join(elsewhere, "home"), join(root, path));
    vi.useFakeTimers({ now: Date.now() + 48 * 3600_000, toFake: ["Date"] });
    onTestFinished(() => void vi.useRealTimers());
    const place = new FolderVault(root, { asked: "before", push: true });
    const source = { name: "it", sha256, path: file, size: bytes.length };
    const found = `${path} in it is not a folder`;
    await expect(place.missing(new Map([[sha256, source]]))).rejects.toThrow(found);
    await expect(place.write(source, AbortSignal.timeout(5000))).rejects.toThrow(found);
    expect(readdirSync(join(elsewhere, "home"))).toEqual(["kept"]);
  },
);

test.each(["fetch", "fetch/core", "fetch/core/tool"])("ignores a tree's %s that is a link", async (link) => {
  const [tree, elsewhere] = [await scratchFolder(), await scratchFolder()];
  const folder = join(elsewhere, "fetch/core/tool".slice(link.length));
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "id_ed25519"), "secret");
  mkdirSync(dirname(join(tree, link)), { recursive: true });
  symlinkSync(elsewhere, join(tree, link));
  const cache = await SourceCache.open(await scratchFolder());
  const sha256 = createHash("sha256").update("secret").digest("hex");
  const source = { name: "tool", file: "id_ed25519", sha256, mirrors: [] };
  const error = await cache
    .obtain(source, { archives: [join(tree, "fetch/core/tool")] })
    .catch((caught: Error) => caught.message);
  expect(error).toContain("left out: it is a symbolic link, not a regular file");
});
