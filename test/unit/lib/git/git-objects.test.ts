import { createHash } from "node:crypto";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readObjects, streamObjects } from "../../../../lib/git/git-objects.ts";
import { requireRepository } from "../../../../lib/git/git-repository.ts";
import { TreeHistory } from "../../../support/builders/tree-history.ts";

const mebibyte = 2 ** 20;
const absent = "0".repeat(40);

/** A repository with an empty file, a small one, and a sparse one of 16 MiB. */
function repositoryOfFiles(): { root: string; names: string[] } {
  const history = new TreeHistory();
  history.write({ empty: "", small: "a\nb\n", "large.bin": "" });
  truncateSync(join(history.root, "large.bin"), 16 * mebibyte);
  history.commit({});
  const names = ["large.bin", "empty", "small"].map((file) =>
    history.git("rev-parse", `HEAD:${file}`).trim(),
  );
  return { root: history.root, names };
}

test("streams objects of any size in pieces, in the order asked for, and passes over missing ones", async () => {
  const { root, names } = repositoryOfFiles();
  const [large = "", empty = "", small = ""] = names;
  const seen: { name: string; size: number; sha256: string; largest: number }[] = [];
  await streamObjects(
    await requireRepository(root),
    [large, absent, empty, small, large],
    ({ name, size }) => {
      const hash = createHash("sha256");
      let largest = 0;
      return {
        write: (piece) => {
          hash.update(piece);
          largest = Math.max(largest, piece.length);
        },
        end: () => void seen.push({ name, size, sha256: hash.digest("hex"), largest }),
      };
    },
  );
  const sha256 = (content: string | Buffer) => createHash("sha256").update(content).digest("hex");
  expect(seen).toMatchObject([
    { name: large, size: 16 * mebibyte, sha256: sha256(Buffer.alloc(16 * mebibyte)) },
    { name: empty, size: 0, sha256: sha256(""), largest: 0 },
    { name: small, size: 4, sha256: sha256("a\nb\n"), largest: 4 },
  ]);
  expect(seen[0]?.largest).toBeLessThanOrEqual(mebibyte);
});

test("reads objects whole, whatever bytes they have", async () => {
  const history = new TreeHistory();
  const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7) % 256));
  writeFileSync(join(history.root, "bytes"), bytes);
  history.commit({});
  const name = history.git("rev-parse", "HEAD:bytes").trim();
  const objects = await readObjects(await requireRepository(history.root), [name, absent]);
  expect([...objects.keys()]).toEqual([name]);
  expect(objects.get(name)?.content.equals(bytes)).toBe(true);
});
