import { execFileSync, spawn } from "node:child_process";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { networkEnvironment, runGit } from "../../lib/git/git.ts";
import { checkOutTree, parseTreeAddress } from "../../sources/tree/tree-checkout.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";
import { TreeHistory } from "../support/builders/tree-history.ts";
import { packageFiles } from "../support/builders/written-tree.ts";
import { type Answer, mirrorAuthority, startMirror } from "../support/servers/https-mirror.ts";

let scratch: string;

beforeEach(async () => {
  scratch = await scratchFolder();
  writeFileSync(join(scratch, "authority.pem"), mirrorAuthority);
  vi.stubEnv("GIT_SSL_CAINFO", join(scratch, "authority.pem"));
  vi.stubEnv("GIT_CONFIG_GLOBAL", "/dev/null");
});
afterEach(() => void vi.unstubAllEnvs());

const open = (url: string, revision = "1.0.0") =>
  checkOutTree(parseTreeAddress(`${url}/tree#${revision}`, "/"), join(scratch, "cache"));

/**
 * Expects that the tree is rejected with these words, that none of it is kept, and that no file
 * lies beside the cache.
 */
async function expectRefused(answer: Answer, words: RegExp, revision?: string): Promise<string> {
  const { url } = await startMirror(answer);
  const error = await open(url, revision).then(expect.fail, (reason: Error) => reason);
  expect(error.message).toMatch(words);
  expect(error.message).not.toMatch(/[^\P{Cc}\n]|\p{Cf}/u);
  const kept = readdirSync(join(scratch, "cache"), { recursive: true }).map(String);
  expect(kept.filter((path) => !/^[0-9a-f]{16}(\/tags)?$/.test(path))).toEqual([]);
  expect(readdirSync(scratch).sort()).toEqual(["authority.pem", "cache"]);
  return error.message;
}

const packet = (line: string) => (Buffer.byteLength(line) + 4).toString(16).padStart(4, "0") + line;

/** An advertisement of the smart protocol, version 0 (gitprotocol-http(5)). */
function advertising(...lines: readonly string[]): Answer {
  const [first = "", ...rest] = lines;
  const body = `${packet("# service=git-upload-pack\n")}0000${packet(`${first}\0agent=x\n`)}${rest.map((line) => packet(`${line}\n`)).join("")}0000`;
  return (_, response) => {
    response.writeHead(200, { "content-type": "application/x-git-upload-pack-advertisement" }).end(body);
  };
}

/** A list of refs of the dumb protocol. */
function listing(text: string): Answer {
  return ({ url }, response) => {
    response.writeHead(url?.includes("/info/refs") ? 200 : 404, { "content-type": "text/plain" });
    response.end(url?.includes("/info/refs") ? text : "");
  };
}

const someCommit = "0123456789abcdef0123456789abcdef01234567";
const tag = "refs/tags/1.0.0";

test("accepts a good server", async () => {
  const history = new TreeHistory();
  const commit = history.commit(packageFiles("core/tool"));
  history.git("tag", "1.0.0");
  const { url } = await startMirror((request, response) => {
    const isList = request.url?.includes("/info/refs") ?? false;
    const what = isList ? "advertisement" : "result";
    response.writeHead(200, { "content-type": `application/x-git-upload-pack-${what}` });
    if (isList) response.write(`${packet("# service=git-upload-pack\n")}0000`);
    const more = isList ? ["--advertise-refs"] : [];
    const child = spawn("git", ["upload-pack", "--stateless-rpc", ...more, join(history.root, ".git")]);
    request.pipe(child.stdin);
    child.stdout.pipe(response);
  });
  expect(await open(url)).toMatch(new RegExp(`${commit}$`));
  expect(await open(url, commit)).toMatch(new RegExp(`${commit}$`));
});

describe("an answer that is no list of tags", () => {
  test.each([
    ["no name", `\t${tag}`],
    ["a newline for a name", `\n\t${tag}`],
    ["a path for a name", `../../../../etc\t${tag}`],
    ["a path as long as a name", `${"../".repeat(13)}x\t${tag}`],
    ["a shortened name", `0123456\t${tag}`],
    ["an option", `--upload-pack=touch ran\t${tag}`],
    ["one line alone", "\n"],
    ["other text", "<html>no such page</html>\n"],
    ["NUL bytes", `\0\0\0\t${tag}`],
    ["terminal control in a tag", `${someCommit}\trefs/tags/\u001b[31m1.0.0`],
    ["nothing", ""],
  ])("%s", async (_, line) => {
    await expectRefused(
      listing(`${line}\n`),
      /^(git (ls-remote|fetch) https|stagex:tree: https.*has no tag)/,
    );
    const [id = "", name = ""] = line.split("\t");
    await expectRefused(
      advertising(`${id} ${name}`),
      /^(git (ls-remote|fetch) https|stagex:tree: https.*has no tag)/,
    );
  });

  test("refuses other objects than the tag's, or none", async () => {
    await expectRefused(advertising(`${someCommit} ${tag}`), /^git fetch https.*refs\/tags\/1\.0\.0/);
    await expectRefused(advertising(`${someCommit} HEAD`), /^git fetch https/, someCommit);
    await expectRefused(listing(`${someCommit}\t${tag}\n`), /^git fetch https/);
  });

  test("escapes the server's messages", async () => {
    const message = await expectRefused(
      advertising("ERR \u202egnp\u0007 ::error::"),
      /^git ls-remote https.*remote error/s,
    );
    expect(message).toContain("\\u202e");
  });

  test("indents the server's messages", async () => {
    const forged = "no\nstagex: verified\r\n::error::x\n\tx\nstagex: 3 of 3 people have signed";
    const message = await expectRefused(advertising(`ERR ${forged}`), /stagex: verified/);
    const [, ...lines] = message.split("\n");
    expect(lines.length).toBeGreaterThan(2);
    for (const line of lines) expect(line).toMatch(/^ {2}/);
  });
});

test.each([
  "file:///etc/",
  "ext::sh -c touch% /tmp/x ",
  "http://127.0.0.1:1/",
  "ftp://127.0.0.1:1/",
  "git://127.0.0.1:1/",
])("does not follow a redirect to %s", async (target) => {
  await expectRefused(({ url }, response) => {
    response.writeHead(302, { location: `${target}${url?.slice(1)}` }).end();
  }, /^git ls-remote https/);
});

test("ends a redirect to itself", async () => {
  await expectRefused(
    ({ url }, response) => response.writeHead(302, { location: url }).end(),
    /^git ls-remote https/,
  );
});

test("ends an endless answer below half a GiB", async () => {
  let sent = 0;
  const piece = Buffer.alloc(1 << 20, packet(`${someCommit} refs/heads/${"x".repeat(940)}\n`));
  await expectRefused((_, response) => {
    response.writeHead(200, { "content-type": "application/x-git-upload-pack-advertisement" });
    response.write(`${packet("# service=git-upload-pack\n")}0000`);
    const more = () => {
      while (!response.destroyed && response.write(piece)) sent += piece.length;
    };
    response.on("drain", more);
    more();
  }, /^git ls-remote https/);
  expect(sent).toBeLessThan(2 ** 30);
});

test("leaves a server that never answers, with its processes", async () => {
  const { url } = await startMirror((_, response) => {
    response.writeHead(200, { "content-type": "application/x-git-upload-pack-advertisement" });
    response.write("001e");
  });
  const call = { folder: "/", environment: networkEnvironment(), seconds: 2 };
  await expect(runGit(["ls-remote", "--", `${url}/tree`], call)).rejects.toThrow("no end after 2 s");
  const waiting = () => execFileSync("ps", ["-eo", "args"], { encoding: "utf8" }).includes(`${url}/tree`);
  await expect.poll(waiting, { timeout: 10_000 }).toBe(false);
});

test("reaches only addresses of trees, whatever the user's configuration rewrites", async () => {
  const ran = join(scratch, "ran");
  const settings = join(scratch, "gitconfig");
  writeFileSync(
    settings,
    `[url "ext::sh -c touch% ${ran} "]\n\tinsteadOf = https://\n[protocol]\n\tallow = always\n`,
  );
  vi.stubEnv("GIT_CONFIG_GLOBAL", settings);
  await expect(open("https://127.0.0.1:1")).rejects.toThrow("transport 'ext' not allowed");
  expect(existsSync(ran)).toBe(false);
});

test("ignores the configuration of the repository that it is called in", async () => {
  const history = new TreeHistory();
  history.commit(packageFiles("core/tool"));
  const ran = join(scratch, "ran");
  for (const name of ["credential.helper", "core.sshCommand", "core.askPass"])
    history.git("config", name, `!touch ${ran};`);
  history.git("config", `url.ext::sh -c touch% ${ran} .insteadOf`, "https://");
  const program = `
    import { parseTreeAddress, checkOutTree } from ${JSON.stringify(new URL("../../sources/tree/tree-checkout.ts", import.meta.url).href)};
    await checkOutTree(parseTreeAddress(process.argv[1], "/"), process.argv[2]);`;
  for (const url of ["https://127.0.0.1:1/x", "ssh://127.0.0.1:1/x"]) {
    const args = ["--input-type=module", "-e", program, `${url}#1.0.0`, join(scratch, "cache")];
    const run = () => execFileSync(process.execPath, args, { cwd: history.root, stdio: "pipe" });
    expect(run).toThrow(/git ls-remote/);
  }
  expect(existsSync(ran)).toBe(false);
});
