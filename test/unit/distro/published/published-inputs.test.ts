import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { inputKeyOfPlan } from "../../../../distro/plan/predict-digests.ts";
import { type InputsStatus, PublishedInputs } from "../../../../distro/published/published-inputs.ts";
import { findPublishedTree } from "../../../../distro/published/published-tree.ts";
import { readTree } from "../../../../distro/tree/tree.ts";
import { type Digest, digestOf, hexOf } from "../../../../oci/digest.ts";
import { TreeHistory } from "../../../support/builders/tree-history.ts";
import { packageFiles, writeInto, writtenFolder } from "../../../support/builders/written-tree.ts";

const from = (name: string) => ({ containerfile: `FROM scratch\nCOPY --from=stagex/${name} . /\n` });
const line = (name: string) => `${hexOf(digestOf(name))} ${name}\n`;
const files = {
  ...packageFiles("core/seed"),
  ...packageFiles("core/stem", from("core-seed")),
  ...packageFiles("core/leaf", from("core-stem")),
  ...packageFiles("core/lone"),
  "digests/core.txt": ["core-leaf", "core-lone", "core-seed", "core-stem"].map(line).join(""),
};

function published(): TreeHistory {
  const history = new TreeHistory();
  history.commit(files);
  return history;
}

/** Returns the status of each image, given the known digests; or the doubt's text. */
async function statusesOf(root: string, known: Record<string, Digest> = {}): Promise<Record<string, string>> {
  const tree = await readTree(root);
  const inputs = new PublishedInputs(tree, await findPublishedTree(tree, {}));
  const found: Record<string, InputsStatus | string> = {};
  for (const [image, plan] of tree.images) {
    found[image] =
      inputs.doubt(image) ??
      (await inputs.statusOf({
        image,
        hasSameInputsAs: (release) => inputKeyOfPlan(release, {}) === inputKeyOfPlan(plan, {}),
        dependencies: Object.fromEntries(plan.dependencies.map((name) => [name, known[name]])),
        firstManifest: async () => undefined,
      }));
  }
  return found;
}

const all = (status: string) => ({
  "core-lone": status,
  "core-seed": status,
  "core-stem": status,
  "core-leaf": status,
});

describe("the inputs of an image are published", () => {
  test("in the published tree, whatever else is committed later", async () => {
    const history = published();
    expect(await statusesOf(history.root)).toEqual(all("published"));
    history.commit({ README: "x" });
    expect(await statusesOf(history.root)).toEqual(all("published"));
  });

  test("where only a description or a mirror changed", async () => {
    const history = published();
    history.write(packageFiles("core/seed", { toml: 'version = "1.0"\nlicense = "MIT"\n' }));
    expect(await statusesOf(history.root)).toEqual(all("published"));
  });

  test("where a changed dependency has its published digest", async () => {
    const history = published();
    history.commit(packageFiles("core/seed", { containerfile: "FROM scratch\n# A comment.\n" }));
    const changed = { ...all("published"), "core-seed": "changed" };
    expect(await statusesOf(history.root)).toEqual({ ...changed, "core-stem": "open", "core-leaf": "open" });
    const same = { "core-seed": digestOf("core-seed"), "core-stem": digestOf("core-stem") };
    expect(await statusesOf(history.root, same)).toEqual(changed);
    const other = { ...same, "core-seed": digestOf("other") };
    expect(await statusesOf(history.root, other)).toEqual({ ...changed, "core-stem": "changed" });
  });

  test("where an unpublished dependency has unchanged inputs", async () => {
    const history = new TreeHistory();
    history.commit({ ...files, "digests/core.txt": ["core-leaf", "core-stem"].map(line).join("") });
    const known = { "core-seed": digestOf("any"), "core-stem": digestOf("core-stem") };
    expect((await statusesOf(history.root, known))["core-stem"]).toBe("published");
    history.write(packageFiles("core/seed", { containerfile: "FROM scratch\n# A comment.\n" }));
    expect((await statusesOf(history.root, known))["core-stem"]).toBe("changed");
  });
});

describe("where the last commit that changed digests/ changed an image's inputs, but not its line", () => {
  const remark = packageFiles("core/seed", { containerfile: "FROM scratch\n# A comment.\n" });
  const withLone = (digest: string) => ({
    "digests/core.txt": files["digests/core.txt"].replace(
      hexOf(digestOf("core-lone")),
      hexOf(digestOf(digest)),
    ),
  });
  const clone = (root: string): string => {
    const folder = writtenFolder({});
    execFileSync("git", ["clone", "--quiet", "--depth=2", `file://${root}`, `${folder}/clone`], {
      stdio: "ignore",
    });
    return `${folder}/clone`;
  };

  test("accepts the inputs of the commit that wrote its line as published", async () => {
    const history = published();
    history.commit({ ...remark, ...withLone("other") });
    expect((await statusesOf(history.root))["core-seed"]).toBe("published");
    history.commit(packageFiles("core/seed"));
    expect((await statusesOf(history.root))["core-seed"]).toBe("published");
    history.write(packageFiles("core/seed", { containerfile: "FROM scratch\n# Another.\n" }));
    expect((await statusesOf(history.root))["core-seed"]).toBe("changed");
  });

  test("accepts them where that commit moved its line, or wrote it again", async () => {
    const history = published();
    const reversed = files["digests/core.txt"].trimEnd().split("\n").reverse().join("\n");
    history.commit({ ...remark, "digests/core.txt": `${reversed}\n` });
    history.commit(packageFiles("core/seed"));
    expect((await statusesOf(history.root))["core-seed"]).toBe("published");
    history.commit({ "digests/core.txt": files["digests/core.txt"].replace(line("core-seed"), "") });
    history.commit({ ...remark, "digests/core.txt": files["digests/core.txt"] });
    history.commit(packageFiles("core/seed"));
    expect((await statusesOf(history.root))["core-seed"]).toBe("published");
  });

  test("gives a doubt, and the status published, in a clone without the commit that wrote its line", async () => {
    const history = published();
    history.commit({ README: "x" });
    history.commit({ ...remark, ...withLone("other") });
    const shallow = clone(history.root);
    for (const [path, text] of Object.entries(packageFiles("core/seed")))
      writeInto(shallow, { [path]: text });
    const tree = await readTree(shallow);
    const inputs = new PublishedInputs(tree, await findPublishedTree(tree, {}));
    const statuses = await inputs.statuses(new Map(), async () => undefined);
    expect(statuses.get("core-seed")).toBe("published");
    expect(inputs.doubt("core-seed")).toContain("fetch --unshallow --tags");
    expect(inputs.doubt("core-lone")).toBeUndefined();
  });
});

describe("the status is unknown, with the fix", () => {
  test("without a repository", async () => {
    const statuses = await statusesOf(writtenFolder(files));
    expect(statuses["core-seed"]).toContain("is in no git repository; use a clone");
  });

  test("for digests that were never committed", async () => {
    const history = new TreeHistory();
    const { "digests/core.txt": digests, ...packages } = files;
    history.commit(packages);
    history.write({ "digests/core.txt": digests });
    expect((await statusesOf(history.root))["core-seed"]).toContain("commit digests/");
  });

  test("only for the line that was changed by hand", async () => {
    const history = published();
    const digests = files["digests/core.txt"].replace(hexOf(digestOf("core-seed")), hexOf(digestOf("x")));
    history.write({ "digests/core.txt": digests });
    const statuses = await statusesOf(history.root);
    expect(statuses["core-seed"]).toContain("its line in digests/core.txt is not that of commit");
    expect(statuses["core-stem"]).toBe("published");
  });

  test("in a shallow clone without the commit, except at a release's tag", async () => {
    const history = published();
    history.commit(packageFiles("core/seed", { containerfile: "FROM scratch\n# A comment.\n" }));
    const shallow = (): string => {
      const folder = writtenFolder({});
      const options = ["clone", "--quiet", "--depth=1", `file://${history.root}`];
      execFileSync("git", [...options, `${folder}/clone`], { stdio: "ignore" });
      return `${folder}/clone`;
    };
    expect((await statusesOf(shallow()))["core-seed"]).toContain("fetch --unshallow --tags");
    history.git("tag", "2026.03.0");
    expect(await statusesOf(shallow())).toEqual(all("published"));
  });
});

test("ignores a forged digest of an unchanged image for its dependents", async () => {
  const history = published();
  history.write(
    packageFiles("core/stem", { containerfile: `${from("core-seed").containerfile}# A comment.\n` }),
  );
  const tree = await readTree(history.root);
  const inputs = new PublishedInputs(tree, await findPublishedTree(tree, {}));
  const statusesWith = async (known: Record<string, Digest>) =>
    Object.fromEntries(await inputs.statuses(new Map(Object.entries(known)), async () => undefined));
  const forged = { "core-seed": digestOf("forged"), "core-lone": digestOf("forged") };
  const unchanged = { "core-seed": "published", "core-lone": "published", "core-stem": "changed" };
  expect(await statusesWith(forged)).toEqual({ ...unchanged, "core-leaf": "open" });
  expect(await statusesWith({ "core-stem": digestOf("core-stem") })).toEqual({
    ...unchanged,
    "core-leaf": "published",
  });
  expect(await statusesWith({ "core-stem": digestOf("other") })).toEqual({
    ...unchanged,
    "core-leaf": "changed",
  });
});
