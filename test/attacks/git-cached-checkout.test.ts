import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { deflateSync } from "node:zlib";
import { beforeEach, expect, test } from "vitest";
import { checkOutTree, parseTreeAddress } from "../../sources/tree/tree-checkout.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";
import { TreeHistory } from "../support/builders/tree-history.ts";
import { packageFiles } from "../support/builders/written-tree.ts";

const folder = "packages/core/tool";

let scratch: string;
let url: string;
let commit: string;
let checkout: string;

beforeEach(async () => {
  scratch = await scratchFolder();
  const history = new TreeHistory();
  commit = history.commit({
    ...packageFiles("core/tool"),
    ...{
      "digests/core.txt": "",
      MAINTAINERS: "people",
      "keys/ash.asc": "key",
      "README.md": "",
      ".gitattributes": "* ident text eol=crlf\n",
    },
    [`${folder}/id`]: "$Id$\n",
  });
  url = pathToFileURL(history.root).href;
  checkout = await open();
});

const open = () => checkOutTree(parseTreeAddress(`${url}#${commit}`, "/"), join(scratch, "cache"));
const git = (...args: string[]) =>
  execFileSync("git", ["-C", checkout, "-c", "user.name=t", "-c", "user.email=t@example.org", ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  }).trim();
const at = (path: string) => join(checkout, path);

/** Another content, of the same length and time. */
function replace(path: string): void {
  const { atime, mtime, size } = statSync(at(path));
  writeFileSync(at(path), "x".repeat(size));
  utimesSync(at(path), atime, mtime);
}

/** An object with another's name. */
function forge(object: string, type: string, content: Buffer): void {
  const path = at(`.git/objects/${object.slice(0, 2)}/${object.slice(2)}`);
  for (const pack of execFileSync("find", [at(".git/objects/pack"), "-type", "f"], { encoding: "utf8" })
    .trim()
    .split("\n"))
    if (pack !== "") renameSync(pack, join(scratch, "pack"));
  rmSync(path, { force: true });
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, deflateSync(Buffer.concat([Buffer.from(`${type} ${content.length}\0`), content])));
}

test("accepts an unmodified checkout, whatever lies beside the tree", async () => {
  writeFileSync(at("notes"), "");
  mkdirSync(at("fetch/core"), { recursive: true });
  mkdirSync(at("packages/empty"));
  writeFileSync(at("README.md"), "other");
  expect(await open()).toBe(checkout);
});

test.each<[string, () => void]>([
  ["a package's file", () => replace(`${folder}/Containerfile`)],
  ["a key", () => replace("keys/ash.asc")],
  ["a key more", () => writeFileSync(at("keys/more.asc"), "key")],
  ["a key more, in a folder more", () => cpSync(at("MAINTAINERS"), at("keys/more/key"))],
  ["a key less", () => unlinkSync(at("keys/ash.asc"))],
  ["the roster", () => replace("MAINTAINERS")],
  [
    "the roster, by a link",
    () => {
      copyFileSync(at("MAINTAINERS"), join(scratch, "roster"));
      unlinkSync(at("MAINTAINERS"));
      symlinkSync(join(scratch, "roster"), at("MAINTAINERS"));
    },
  ],
  [
    "keys, by a link",
    () => {
      renameSync(at("keys"), join(scratch, "keys"));
      symlinkSync(join(scratch, "keys"), at("keys"));
    },
  ],
  ["a file's mode", () => chmodSync(at(`${folder}/id`), 0o755)],
  ["a digests file more", () => writeFileSync(at("digests/user.txt"), "")],
  [
    "a file that is ignored",
    () => {
      appendFileSync(at(".git/info/exclude"), "*\n");
      writeFileSync(at(`${folder}/more`), "");
    },
  ],
  [
    "a file that is assumed unchanged",
    () => {
      git("update-index", "--assume-unchanged", `${folder}/id`);
      replace(`${folder}/id`);
    },
  ],
  [
    "a file that is skipped",
    () => {
      git("update-index", "--skip-worktree", "keys/ash.asc");
      replace("keys/ash.asc");
    },
  ],
  [
    "a file and the index",
    () => {
      replace(`${folder}/id`);
      git("add", `${folder}/id`);
    },
  ],
  ["the index alone", () => void git("rm", "--quiet", "--cached", `${folder}/id`)],
  ["another commit", () => void git("commit", "--quiet", "--allow-empty", "--message=x")],
  ["a tag that calls it a release", () => void git("tag", "2026.01.0")],
  [
    "a replaced commit",
    () => {
      replace(`${folder}/id`);
      git("commit", "--quiet", "--all", "--message=x");
      git("replace", commit, "HEAD");
      git("checkout", "--quiet", "--detach", commit);
    },
  ],
  [
    "a file and the tree object that records it",
    () => {
      replace(`${folder}/id`);
      git("add", "--all");
      const [forged, object] = [
        git("write-tree", `--prefix=${folder}/`),
        git("rev-parse", `${commit}:${folder}`),
      ];
      const content = execFileSync("git", ["-C", checkout, "cat-file", "tree", forged]);
      const kept = execFileSync("git", ["-C", checkout, "pack-objects", "--all", "--stdout"]);
      forge(object, "tree", content);
      execFileSync("git", ["-C", checkout, "unpack-objects", "-q"], { input: kept });
    },
  ],
  [
    "objects of another repository",
    () => {
      mkdirSync(at(".git/objects/info"), { recursive: true });
      writeFileSync(at(".git/objects/info/alternates"), `${scratch}\n`);
    },
  ],
  ["no repository", () => rmSync(at(".git"), { recursive: true })],
  [
    "another repository",
    () => {
      renameSync(at(".git"), join(scratch, "git"));
      writeFileSync(at(".git"), `gitdir: ${join(scratch, "git")}\n`);
    },
  ],
])("refuses a modified checkout: %s", async (_, change) => {
  change();
  await expect(open()).rejects.toThrow(
    new RegExp(`somebody changed the checkout.*To take it anew: rm -r ${checkout}$`, "s"),
  );
  rmSync(checkout, { recursive: true });
  expect(await open()).toBe(checkout);
});

test("runs nothing that a checkout's configuration names", async () => {
  const ran = join(scratch, "ran");
  for (const name of ["core.fsmonitor", "filter.x.clean", "filter.x.smudge", "core.pager"])
    git("config", name, `touch ${ran}; #`);
  writeFileSync(at(".git/info/attributes"), "* filter=x\n");
  utimesSync(at(`${folder}/id`), new Date(), new Date());
  expect(await open()).toBe(checkout);
  expect(() => statSync(ran)).toThrow("ENOENT");
});
