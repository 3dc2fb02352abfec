import { chmod, mkdir, mkdtemp, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { makePrivateFolder } from "../../../../lib/fs/private-folder.ts";

let folder: string;
const umask = process.umask();

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stagex-private-"));
});

afterEach(async () => {
  process.umask(umask);
  await rm(folder, { recursive: true, force: true });
});

const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o7777).toString(8);

test.for([0o000, 0o022, 0o077, 0o277])("creates a folder for its owner only, with umask %o", async (mask) => {
  process.umask(mask);
  makePrivateFolder(join(folder, "state"));
  process.umask(umask);
  expect(await modeOf(join(folder, "state"))).toBe("700");
});

test.for([0o755, 0o777, 0o775, 0o750, 0o701, 0o1777])(
  "closes an existing folder with mode %o",
  async (mode) => {
    const path = join(folder, "state");
    await mkdir(path);
    await writeFile(join(path, "kept"), "");
    await chmod(path, mode);
    makePrivateFolder(path);
    expect(await modeOf(path)).toBe("700");
  },
);

test("follows the owner's own link to a larger disk", async () => {
  await mkdir(join(folder, "disk"), { mode: 0o755 });
  await symlink("disk", join(folder, "state"));
  makePrivateFolder(join(folder, "state"));
  expect(await modeOf(join(folder, "disk"))).toBe("700");
});

test.skipIf(process.getuid?.() !== 0)("rejects another user's folder, closed or not", async () => {
  await chmod(folder, 0o755);
  const path = join(folder, "state");
  await mkdir(path);
  process.seteuid?.(65534);
  const before = process.getuid;
  process.getuid = () => 65534;
  try {
    expect(() => makePrivateFolder(path)).toThrow(/belongs to another user \(0\)/);
  } finally {
    process.getuid = before as () => number;
    process.seteuid?.(0);
  }
  expect(await modeOf(path)).toBe("755");
});
