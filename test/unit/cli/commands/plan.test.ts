import { spawnSync } from "node:child_process";
import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseInputKey } from "../../../../distro/input-key.ts";
import { Ledger } from "../../../../distro/ledger/ledger.ts";
import { inputKeyOfPlan } from "../../../../distro/plan/predict-digests.ts";
import { readTree } from "../../../../distro/tree/tree.ts";
import { type Digest, digestOf } from "../../../../oci/digest.ts";
import { TreeHistory } from "../../../support/builders/tree-history.ts";
import { git, packageFiles, writtenFolder } from "../../../support/builders/written-tree.ts";

const program = join(import.meta.dirname, "../../../../cli/stagex.mjs");
const seedFile = "packages/core/seed/Containerfile";

function stagex(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: "utf8" });
  return { status, stdout, stderr };
}

/** core-seed < core-tool < user-app; user-lone is built from nothing. */
function someHistory(): { history: TreeHistory; first: string } {
  const history = new TreeHistory();
  const first = history.commit({
    ...packageFiles("core/seed"),
    ...packageFiles("core/tool", { containerfile: "FROM stagex/core-seed\n" }),
    ...packageFiles("user/app", { containerfile: "FROM stagex/core-tool\n" }),
    ...packageFiles("user/lone"),
  });
  return { history, first };
}

/** Lists everything below a folder, with the time of its last change. */
function contentsOf(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: "utf8" })
    .map((path) => `${path} ${lstatSync(join(root, path)).mtimeMs}`)
    .sort();
}

describe("stagex plan", () => {
  test("--json prints one object with just these keys for the working tree against HEAD", () => {
    const { history, first } = someHistory();
    history.write({ [seedFile]: "FROM scratch\n# why\n", ...packageFiles("user/fresh") });
    history.git("add", "packages/user/fresh");
    const { status, stdout, stderr } = stagex("plan", "--json", "--tree", history.root);
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toEqual({
      base: first,
      images: 5,
      rebuild: [
        {
          name: "core-seed",
          certainty: "will",
          causes: [
            {
              property: "containerfile",
              before: digestOf("FROM scratch\n"),
              after: digestOf("FROM scratch\n# why\n"),
            },
          ],
          path: ["core-seed"],
        },
        {
          name: "core-tool",
          certainty: "may",
          causes: [{ property: 'dependencies["core-seed"]', before: "unknown", after: "unknown" }],
          path: ["core-seed", "core-tool"],
        },
        {
          name: "user-app",
          certainty: "may",
          causes: [{ property: 'dependencies["core-tool"]', before: "unknown", after: "unknown" }],
          path: ["core-seed", "core-tool", "user-app"],
        },
      ],
      added: ["user-fresh"],
      removed: [],
      unchanged: ["user-lone"],
    });
    expect(status).toBe(0);
  });

  test("prints a table sorted by level, and the counts", () => {
    const { history, first } = someHistory();
    history.git("rm", "-rq", "packages/user/lone");
    history.write({ [seedFile]: "FROM scratch\n# why\n" });
    const { status, stdout } = stagex("plan", "--tree", history.root);
    expect(stdout.split("\n")).toEqual([
      `What it takes from HEAD (${first.slice(0, 12)}) to the working tree ${history.root}`,
      "",
      "level           image      because of",
      "0      will     core-seed  Containerfile",
      "1      may      core-tool  core-seed > core-tool",
      "2      may      user-app   core-seed > core-tool > user-app",
      "       removed  user-lone",
      "",
      "3 images: 1 will be rebuilt, 2 may be, 0 new, 0 unchanged; 1 removed",
      "Most is caused by core-seed (2 images).",
      "",
    ]);
    expect(status).toBe(0);
  });

  test("prints the time and the critical path for the given slots where the ledger has durations", async () => {
    const { history } = someHistory();
    history.write({ [seedFile]: "FROM scratch\n# why\n", ...packageFiles("user/fresh") });
    history.git("add", "packages/user/fresh");
    const ledger = new Ledger(join(writtenFolder({}), "ledger"));
    for (const [image, seconds] of Object.entries({ "core-seed": 60, "core-tool": 120, "user-fresh": 90 })) {
      await ledger.append({
        inputKey: parseInputKey(digestOf(image).slice("sha256:".length)),
        image,
        digests: { index: null, platforms: { "linux/amd64": digestOf(image) } },
        builder: { id: "test", facts: null },
        seconds,
        outcome: "built",
        finished: "2026-01-01T00:00:00.000Z",
      });
    }
    const planOf = (...args: string[]) =>
      stagex("plan", "--tree", history.root, "--ledger", ledger.root, ...args).stdout;
    // core-seed 60, core-tool 120, user-app at the median, 90; user-fresh 90, beside them or after.
    const path = { images: ["core-seed", "core-tool", "user-app"], seconds: 270 };
    const forecast = { guessed: 1, criticalPath: path };
    expect(JSON.parse(planOf("--json", "--jobs", "2")).forecast).toEqual({
      ...forecast,
      jobs: 2,
      seconds: 270,
    });
    expect(JSON.parse(planOf("--json", "--jobs", "1")).forecast).toEqual({
      ...forecast,
      jobs: 1,
      seconds: 360,
    });
    const page = planOf("--jobs", "1");
    expect(page).toContain("If all are built: about 6 min on 1 build slot (1 of them never recorded");
    expect(page).toContain("Critical path, 5 min: core-seed > core-tool > user-app\n");
    for (const wrong of ["0", "two"])
      expect(stagex("plan", "--tree", history.root, "--jobs", wrong).status).toBe(2);
  });

  test("compares the revisions of --since and --to, whatever is checked out", () => {
    const { history, first } = someHistory();
    const second = history.commit({ [seedFile]: "FROM scratch\n# why\n" });
    history.git("tag", "2025.01.0", first);
    history.git("checkout", "--quiet", "--detach", first);
    history.write({ [seedFile]: "not a Containerfile" });
    const { stdout } = stagex(
      "plan",
      "--json",
      "--since",
      "2025.01.0",
      "--to",
      second,
      "--tree",
      history.root,
    );
    const { base, rebuild } = JSON.parse(stdout);
    expect(base).toBe(first);
    expect(rebuild.map(({ name }: { name: string }) => name)).toEqual(["core-seed", "core-tool", "user-app"]);
  });

  test("accepts a detached HEAD", () => {
    const { history, first } = someHistory();
    history.commit({ [seedFile]: "FROM scratch\n# why\n" });
    history.git("checkout", "--quiet", "--detach", first);
    const { status, stdout } = stagex("plan", "--json", "--tree", history.root);
    expect(JSON.parse(stdout)).toMatchObject({ base: first, rebuild: [] });
    expect(status).toBe(0);
  });

  test("is exact where the ledger knows both sides", async () => {
    const { history } = someHistory();
    const ledger = new Ledger(join(writtenFolder({}), "ledger"));
    const digests = (seed: string): Record<string, Digest> => ({
      "core-seed": digestOf(seed),
      "core-tool": digestOf("the same either way"),
      "user-app": digestOf("app"),
      "user-lone": digestOf("lone"),
    });
    await recordTree(ledger, history.root, digests("one"));
    history.write({ [seedFile]: "FROM scratch\n# why\n" });
    await recordTree(ledger, history.root, digests("two"));
    const { stdout } = stagex("plan", "--json", "--tree", history.root, "--ledger", ledger.root);
    const { rebuild, unchanged } = JSON.parse(stdout);
    expect(rebuild.slice(1)).toEqual([
      {
        name: "core-tool",
        certainty: "will",
        causes: [{ property: 'dependencies["core-seed"]', before: digestOf("one"), after: digestOf("two") }],
        path: ["core-seed", "core-tool"],
      },
    ]);
    expect(unchanged).toEqual(["user-lone", "user-app"]);
    const { stdout: story } = stagex("why", "user-app", "--tree", history.root, "--ledger", ledger.root);
    expect(story).toContain("user-app is not rebuilt");
    expect(story).toContain("the ledger knows that it comes out the same:\n  core-tool\n");
  });
});

/** Records what an image of the working tree was built to. */
async function recordTree(
  ledger: Ledger,
  root: string,
  digests: Readonly<Record<string, Digest>>,
): Promise<void> {
  for (const [name, plan] of (await readTree(root)).images) {
    const from = Object.fromEntries(
      plan.dependencies.map((dependency) => [dependency, digests[dependency] ?? digestOf("")]),
    );
    await ledger.append({
      inputKey: inputKeyOfPlan(plan, from),
      image: name,
      digests: { index: null, platforms: { "linux/amd64": digests[name] ?? digestOf("") } },
      builder: { id: "test", facts: null },
      seconds: null,
      outcome: "built",
      finished: "2025-01-01T00:00:00Z",
    });
  }
}

describe("stagex why", () => {
  function tell(name: string, edit: Readonly<Record<string, string | null>>) {
    const { history } = someHistory();
    history.write(edit);
    history.git("add", "--all");
    return stagex("why", name, "--tree", history.root, "--since", "HEAD");
  }

  test("lists an image's own changes", () => {
    const toml = packageFiles("core/seed", { toml: 'version = "1.1"\n' });
    const { status, stdout } = tell("core-seed", {
      ...toml,
      [seedFile]: "FROM scratch\nCOPY a b /\n",
      "packages/core/seed/a": "",
      "packages/core/seed/b": "",
    });
    expect(stdout.split("\n")).toEqual([
      "core-seed will be rebuilt, for its own inputs are others than at HEAD:",
      "  its version: 1.0 -> 1.1",
      `  its Containerfile: ${digestOf("FROM scratch\n")} -> ${digestOf("FROM scratch\nCOPY a b /\n")}`,
      "  its files: a (new), b (new)",
      "",
    ]);
    expect(status).toBe(0);
  });

  test("prints the origin of a change, and its path", () => {
    const { stdout } = tell("user-app", { [seedFile]: "FROM scratch\n# why\n" });
    expect(stdout).toContain("user-app may be rebuilt.");
    expect(stdout).toContain("It begins with core-seed:\n  its Containerfile: sha256:");
    expect(stdout).toContain("\n  core-seed > core-tool > user-app\n");
  });

  test.each([
    ["user-lone", {}, "user-lone is not rebuilt"],
    ["user-fresh", packageFiles("user/fresh"), "user-fresh is new"],
    [
      "user-lone",
      Object.fromEntries(Object.keys(packageFiles("user/lone")).map((path) => [path, null])),
      "user-lone is removed",
    ],
  ])("prints the state of %s after %j", (name, edit, story) => {
    const { status, stdout } = tell(name, edit);
    expect(stdout).toContain(story);
    expect(status).toBe(0);
  });

  test("exits with 2 for an unknown image, with the nearest name", () => {
    const { status, stdout, stderr } = tell("core-sed", {});
    expect(stderr).toContain('no image "core-sed"; the nearest is core-seed (of the images on either side)');
    expect(stdout).toBe("");
    expect(status).toBe(2);
  });
});

describe("trees that cannot be compared exit with 2 and a clear message, and nothing is written", () => {
  type Broken = { readonly root: string; readonly args: readonly string[]; readonly message: string };
  const cases: Record<string, () => Broken> = {
    "an unknown revision": () => {
      const { history } = someHistory();
      history.git("tag", "2025.01.0");
      return { root: history.root, args: ["--since", "2025.1.0"], message: 'no commit "2025.1.0"' };
    },
    "an unknown newer revision": () => {
      const { history } = someHistory();
      return { root: history.root, args: ["--to", "nowhere"], message: 'no commit "nowhere"' };
    },
    "a shallow clone": () => {
      const { history, first } = someHistory();
      history.commit({ [seedFile]: "FROM scratch\n# why\n" });
      const clone = join(writtenFolder({}), "tree");
      git(history.root, "clone", "--quiet", "--depth=1", `file://${history.root}`, clone);
      return { root: clone, args: ["--since", first], message: `git -C ${clone} fetch --unshallow --tags` };
    },
    "a revision whose tree is broken": () => {
      const { history } = someHistory();
      const broken = history.commit({ [seedFile]: "FORM scratch\n", "packages/core/tool/package.toml": "[" });
      history.commit({ ...packageFiles("core/seed"), ...packageFiles("core/tool") });
      history.git("tag", "broken", broken);
      const message = `the tree at broken (${broken}) cannot be read:\npackages/core/seed/Containerfile:1: found "FORM", allowed: FROM`;
      return { root: history.root, args: ["--since", "broken"], message };
    },
    "a revision without a tree": () => {
      const history = new TreeHistory();
      history.commit({ README: "" });
      history.commit(packageFiles("core/seed"));
      return { root: history.root, args: ["--since", "HEAD~"], message: "found no package" };
    },
    "a working tree with a broken package": () => {
      const { history } = someHistory();
      history.write({ [seedFile]: "FROM stagex/core-none\n" });
      return { root: history.root, args: [], message: `${seedFile}:1: found stagex/core-none` };
    },
    "a working tree with a package that git does not track": () => {
      const { history } = someHistory();
      history.write(packageFiles("core/fresh"));
      return { root: history.root, args: [], message: "fix: git add packages/core/fresh" };
    },
    "a working tree in the middle of a merge": () => {
      const { history } = someHistory();
      history.git("checkout", "--quiet", "-b", "other");
      history.commit({ [seedFile]: "FROM scratch\n# one\n" });
      history.git("checkout", "--quiet", "main");
      history.commit({ [seedFile]: "FROM scratch\n# two\n" });
      expect(() =>
        history.git("-c", "user.name=t", "-c", "user.email=t@example.org", "merge", "-q", "other"),
      ).toThrow();
      return { root: history.root, args: [], message: `${seedFile}: found an unresolved merge conflict` };
    },
    "no repository": () => {
      return { root: writtenFolder(packageFiles("core/seed")), args: [], message: "found no git repository" };
    },
    "a repository without a commit": () => {
      return { root: new TreeHistory().root, args: [], message: "found a repository without a commit" };
    },
    "no folder": () => ({
      root: writtenFolder({}),
      args: ["--tree", "/nonexistent/tree"],
      message: "/nonexistent/tree",
    }),
    "a ledger that is not there": () => {
      const { history } = someHistory();
      return {
        root: history.root,
        args: ["--ledger", "/nonexistent/ledger"],
        message: "no ledger at /nonexistent/ledger",
      };
    },
  };

  test.each(Object.entries(cases))("%s", (_, make) => {
    const { root, args, message } = make();
    const before = contentsOf(root);
    for (const command of [["plan"], ["plan", "--json"], ["why", "core-seed"]]) {
      const { status, stdout, stderr } = stagex(...command, "--tree", root, ...args);
      expect(stderr).toContain(message);
      expect(stdout).toBe("");
      expect(status).toBe(2);
    }
    expect(contentsOf(root)).toEqual(before);
  });

  test("reports the older side where neither can be read", () => {
    const { history } = someHistory();
    history.commit({ [seedFile]: "FORM scratch\n" });
    history.write({ [seedFile]: "FROM stagex/core-none\n" });
    const { stderr } = stagex("plan", "--tree", history.root);
    expect(stderr).toContain("the tree at HEAD");
    expect(stderr).not.toContain("core-none");
  });

  test("writes nothing for trees that can be compared", () => {
    const { history } = someHistory();
    history.write({ [seedFile]: "FROM scratch\n# why\n" });
    const before = contentsOf(history.root);
    expect(stagex("plan", "--tree", history.root).status).toBe(0);
    expect(contentsOf(history.root)).toEqual(before);
  });
});
