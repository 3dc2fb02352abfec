import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Ledger } from "../../../../distro/ledger/ledger.ts";
import { inputKeyOfPlan } from "../../../../distro/plan/predict-digests.ts";
import { readTree } from "../../../../distro/tree/tree.ts";
import { type Digest, digestOf, hexOf } from "../../../../oci/digest.ts";
import { TreeHistory } from "../../../support/builders/tree-history.ts";
import { packageFiles } from "../../../support/builders/written-tree.ts";

const program = join(import.meta.dirname, "../../../../cli/stagex.ts");
const line = (name: string, digest = digestOf(name)) => `${hexOf(digest)} ${name}\n`;
const from = (name: string) => ({ containerfile: `FROM scratch\nCOPY --from=stagex/${name} . /\n` });

/**
 * A tree with published digests, one image of which has changed since, and an empty state folder.
 */
function changedTree(): { history: TreeHistory; digests: (...args: string[]) => Ended; state: string } {
  const history = new TreeHistory();
  history.commit({
    ...packageFiles("core/seed"),
    ...packageFiles("core/lone"),
    ...packageFiles("user/tool", from("core-seed")),
    "digests/core.txt": line("core-lone") + line("core-seed"),
    "digests/user.txt": line("user-tool"),
  });
  history.write(packageFiles("core/seed", { containerfile: "FROM scratch\nLABEL a=1\n" }));
  const state = mkdtempSync(join(tmpdir(), "stagex-state-"));
  onTestFinished(() => rmSync(state, { recursive: true }));
  const digests = (...args: string[]) =>
    spawnSync(process.execPath, [program, "digests", "--changed", "--tree", history.root, ...args], {
      encoding: "utf8",
      env: { ...process.env, STAGEX_STATE: state },
    });
  return { history, digests, state };
}

type Ended = { readonly status: number | null; readonly stdout: string; readonly stderr: string };

/** Records in the state folder what an image was built to, from these dependencies. */
async function built(
  { history, state }: ReturnType<typeof changedTree>,
  image: string,
  digest: Digest,
  dependencies: Record<string, Digest> = {},
): Promise<void> {
  const plan = (await readTree(history.root)).images.get(image);
  if (!plan) throw new Error("no plan");
  await new Ledger(join(state, "built")).append({
    inputKey: inputKeyOfPlan(plan, dependencies),
    image,
    digests: { index: null, platforms: { "linux/amd64": digest } },
    builder: { id: "amd64-here", facts: null },
    seconds: 1,
    outcome: "built",
    finished: "2026-03-01T00:00:00Z",
  });
}

test("fails for an unknown digest with the image's name, and prints nothing", () => {
  const tree = changedTree();
  const first = tree.digests();
  expect(first).toMatchObject({ status: 1, stdout: "" });
  expect(first.stderr).toContain("nobody has built core-seed, user-tool from their present inputs");
});

test("prints the lines of changed digests, or writes them into the tree", async () => {
  const tree = changedTree();
  const seed = digestOf("another seed");
  await built(tree, "core-seed", seed);
  await built(tree, "user-tool", digestOf("another tool"), { "core-seed": seed });
  const lines = line("core-seed", seed) + line("user-tool", digestOf("another tool"));
  expect(tree.digests("--since", "HEAD")).toMatchObject({ status: 0, stdout: lines, stderr: "" });
  expect(tree.digests("--write").status).toBe(0);
  const text = (stage: string) => readFileSync(join(tree.history.root, `digests/${stage}.txt`), "utf8");
  expect(text("core")).toBe(line("core-lone") + line("core-seed", seed));
  expect(text("user")).toBe(line("user-tool", digestOf("another tool")));
});

test("prints no line for an image with its published digest, nor for its dependents", async () => {
  const tree = changedTree();
  await built(tree, "core-seed", digestOf("core-seed"));
  expect(tree.digests()).toMatchObject({ status: 0, stdout: "", stderr: "no line changes\n" });
});

test("fails without history, and accepts --since", () => {
  const { history, digests } = changedTree();
  rmSync(join(history.root, ".git"), { recursive: true });
  const { status, stderr } = digests();
  expect(status).toBe(2);
  expect(stderr).toMatch(/is in no git repository.*Or name the older side: --since REVISION/);
});
