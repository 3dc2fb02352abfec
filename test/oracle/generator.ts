import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";

/** The make rule that StageX's own `src/targets.py` prints for an image, in parts. */
export type MakeRule = {
  readonly name: string;
  readonly recipe: string;
  readonly target: string | null;
  readonly version: string;
  readonly platforms: readonly string[];
  readonly buildArgs: Readonly<Record<string, string>>;
  /** Sorted, each once. */
  readonly dependencies: readonly string[];
};

/** A download of `src/fetch.py` to one file. As all mirrors fail, it tries each. */
export type Download = {
  readonly file: string;
  readonly sha256: string;
  readonly mirrors: readonly string[];
};

/** Every build gets them, so plans leave them out. */
const constantArgs = new Set(["SOURCE_DATE_EPOCH", "BUILDKIT_MULTI_PLATFORM", "BUILDKIT_DOCKERFILE_CHECK"]);

/** Reads the rules that the generator of this checkout prints, by image. */
export function readMakeRules(tree: string, platform: string): Map<string, MakeRule> {
  const text = python(["src/targets.py"], tree);
  const rules = text.split(/^(?=out\/\S+\/index\.json:)/m).slice(1);
  return new Map(rules.map((rule) => makeRule(rule, platform)).map((rule) => [rule.name, rule]));
}

function makeRule(rule: string, platform: string): MakeRule {
  // The recipe that fills out/<image>; the rest belongs to other rules of the same image.
  const command = rule.slice(0, rule.search(/\| tar -C /));
  const one = (pattern: RegExp) => pattern.exec(command)?.[1];
  const all = (pattern: RegExp) => [...command.matchAll(pattern)].map((match) => match[1] ?? "");
  const args = all(/--build-arg "?([^\s"]+=[^\n"]*?)"?(?= \\\n|\n)/g).map((arg): [string, string] => {
    return [arg.slice(0, arg.indexOf("=")), arg.slice(arg.indexOf("=") + 1)];
  });
  return {
    name: one(/^out\/(\S+)\/index\.json:/) ?? "",
    recipe: one(/ -f (\S+)/) ?? "",
    target: one(/--target (\S+)/) ?? null,
    version: one(/--tag stagex\/[^\s:]+:(\S+)/) ?? "",
    platforms: (one(/--platform=(\S+)/) ?? "").replaceAll("$(PLATFORM)", platform).split(","),
    buildArgs: Object.fromEntries(args.filter(([name]) => !constantArgs.has(name))),
    dependencies: [...new Set(all(/--build-context stagex\/([^\s=]+)=/g))].sort(),
  };
}

/**
 * Returns the downloads that the `src/fetch.py` of this checkout would make, by package folder.
 * Returns undefined for the one of 2024.12.0, a script without a class to call. It replaces the
 * script's download, so no network is used, and every verification fails.
 */
export function readDownloads(tree: string): Map<string, Download[]> | undefined {
  const place = mkdtempSync(join(tmpdir(), "stagex-oracle-"));
  try {
    symlinkSync(resolve(tree, "packages"), join(place, "packages"));
    const output = python(["-c", recorder, join(resolve(tree), "src")], place);
    const answer = z.record(z.string(), z.array(attemptSchema)).nullable();
    const attempts = answer.parse(JSON.parse(output.slice(output.lastIndexOf("\n", output.length - 2) + 1)));
    if (attempts === null) return undefined;
    return new Map(Object.entries(attempts).map(([folder, found]) => [folder, byFile(found)]));
  } finally {
    rmSync(place, { recursive: true });
  }
}

const attemptSchema = z.object({ file: z.string(), sha256: z.string(), url: z.string() });

function byFile(attempts: readonly z.infer<typeof attemptSchema>[]): Download[] {
  return [...Map.groupBy(attempts, ({ file, sha256 }) => `${sha256} ${file}`).values()].flatMap((same) => {
    const first = same[0];
    return first ? [{ file: first.file, sha256: first.sha256, mirrors: same.map(({ url }) => url) }] : [];
  });
}

const recorder = `
import glob, json, os, sys
source = sys.argv[1]
sys.path.insert(0, source)
if "class ResourceFetcher" not in open(os.path.join(source, "fetch.py")).read():
    print("\\nnull")
    sys.exit(0)
from fetch import ResourceFetcher
seen, urls = {}, []
def download(url, path=None):
    urls.append(url)
def verify(path, sha256):
    current.append({"file": path.name, "sha256": sha256, "url": urls[-1]})
    return False
ResourceFetcher.download = staticmethod(download)
ResourceFetcher.verify = staticmethod(verify)
for path in glob.glob("packages/*/*/package.toml"):
    current = seen[os.path.dirname(path)] = []
    ResourceFetcher(path).fetch_resource()
print("\\n" + json.dumps(seen))
`;

function python(args: readonly string[], cwd: string): string {
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: "1" };
  return execFileSync("python3", args, { cwd, env, encoding: "utf8", maxBuffer: 1 << 28 });
}
