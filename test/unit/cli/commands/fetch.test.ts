import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { packageFiles, trackedTree } from "../../../support/builders/written-tree.ts";
import { mirrorAuthority, serving, startMirror } from "../../../support/servers/https-mirror.ts";

const program = join(import.meta.dirname, "../../../../cli/stagex.mjs");
const content = Buffer.from("the source");
const sha256 = createHash("sha256").update(content).digest("hex");

/** Runs `stagex fetch` with a cache of its own, trusting the test's mirrors. */
function fetcher(): (...args: string[]) => Promise<{ code: number; stdout: string; stderr: string }> {
  const cache = mkdtempSync(join(tmpdir(), "stagex-fetch-"));
  onTestFinished(() => rmSync(cache, { recursive: true, force: true }));
  const authority = join(cache, "ca.pem");
  writeFileSync(authority, mirrorAuthority);
  const env = { ...process.env, STAGEX_CACHE: join(cache, "cache"), NODE_EXTRA_CA_CERTS: authority };
  return (...args) =>
    new Promise((resolve) => {
      execFile(process.execPath, [program, "fetch", ...args], { env }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
      );
    });
}

function treeWith(...mirrors: string[]): string {
  const section = `[sources.it]\nhash = "${sha256}"\nfile = "it.tar"\nmirrors = ${JSON.stringify(mirrors)}\n`;
  return trackedTree({
    ...packageFiles("core/one", { toml: `version = "1.0"\n${section}` }),
    ...packageFiles("core/two", { toml: `version = "1.0"\n${section}` }),
  });
}

test("--dry-run --json prints each source once, with the URLs in the order to ask them", async () => {
  const tree = treeWith("http://a.test/it.tar", "https://b.test/it.tar");
  const { code, stdout } = await fetcher()("--dry-run", "--json", "--tree", tree);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual([
    {
      file: "it.tar",
      sha256,
      images: ["core-one", "core-two"],
      mirrors: ["https://a.test/it.tar", "http://a.test/it.tar", "https://b.test/it.tar"],
      status: "missing",
    },
  ]);
});

test("fetches missing sources, and reports them as there the next time", async () => {
  const mirror = await startMirror(serving(content));
  const tree = treeWith(`${mirror.url}/it.tar`);
  const fetch = fetcher();
  const first = await fetch("--tree", tree);
  expect(first).toMatchObject({ code: 0, stdout: expect.stringContaining("1 there, 0 missing") });
  const planned = await fetch("--dry-run", "--json", "--tree", tree);
  expect(JSON.parse(planned.stdout)).toMatchObject([{ status: "there" }]);
  const second = await fetch("--tree", tree);
  expect(second.code).toBe(0);
  expect(mirror.requests).toHaveLength(1);
});

test("reports changed content and dead mirrors, and exits with 1 where no place has the source", async () => {
  const wrong = await startMirror(serving(Buffer.from("another")));
  const gone = await startMirror((_, response) => response.writeHead(404).end());
  const { code, stdout } = await fetcher()(
    ...["--no-software-heritage", "--tree", treeWith(`${wrong.url}/it.tar`, `${gone.url}/it.tar`)],
  );
  expect(code).toBe(1);
  expect(stdout).toMatch(/missing:\n {2}it\.tar .*core-one, core-two/);
  expect(stdout).toMatch(/changed content:\n.*wrong content/);
  expect(stdout).toMatch(/mirrors that failed:\n.*404/);
});

test("counts a file of the tree's fetch folder as there", async () => {
  const tree = treeWith("https://a.test/it.tar");
  mkdirSync(join(tree, "fetch/core/one"), { recursive: true });
  writeFileSync(join(tree, "fetch/core/one/it.tar"), content);
  const { code, stdout } = await fetcher()("--tree", tree, "--json");
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject([{ status: "there" }]);
});

test("exits with 2 for an unknown image, and for an unreadable tree", async () => {
  const fetch = fetcher();
  expect(await fetch("core-three", "--tree", treeWith("https://a.test/it.tar"))).toMatchObject({ code: 2 });
  expect(await fetch("--tree", "/nowhere")).toMatchObject({ code: 2 });
});

/** A folder of the test's own. */
function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "stagex-vault-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test("--dry-run --json lists the vault's places in the order of requests", async () => {
  const tree = treeWith("https://a.test/it.tar");
  const vault = [
    { registry: "registry.test/sources", asked: "after" },
    { folder: "/srv/vault" },
    { url: "https://vault.test/all/" },
  ];
  const { stdout } = await fetcher()("--dry-run", "--json", "--tree", tree, "--vault", JSON.stringify(vault));
  const [{ mirrors }] = JSON.parse(stdout);
  const path = `sha256/${sha256.slice(0, 2)}/${sha256}`;
  expect(mirrors).toEqual([
    `file:///srv/vault/${path}`,
    `https://vault.test/all/${path}`,
    "https://a.test/it.tar",
    `oci://registry.test/sources@sha256:${sha256}`,
  ]);
});

test("--push fills a folder of the vault, from which another cache then fetches", async () => {
  const mirror = await startMirror(serving(content));
  const tree = treeWith(`${mirror.url}/it.tar`);
  const vault = ["--vault", JSON.stringify([{ folder: emptyFolder() }])];
  const first = await fetcher()("--tree", tree, "--push", ...vault);
  expect(first).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("1 pushed, 0 there before, 0 failed"),
  });
  const other = fetcher();
  const second = await other("--tree", tree, "--push", "--json", ...vault);
  expect(Object.values(JSON.parse(second.stdout)[0].vault)).toEqual(["there"]);
  expect(mirror.requests).toHaveLength(1);
});

test("--push exits with 1 where a place refuses sources, and with 2 without a place to push to", async () => {
  const mirror = await startMirror(serving(content));
  const tree = treeWith(`${mirror.url}/it.tar`);
  const fetch = fetcher();
  const failed = await fetch("--tree", tree, "--push", "--vault", '[{"folder":"/nowhere/at/all"}]');
  expect(failed).toMatchObject({ code: 1, stdout: expect.stringContaining("there is no such folder") });
  expect(await fetch("--tree", tree, "--push")).toMatchObject({ code: 2 });
  expect(await fetch("--tree", tree, "--push", "--vault", '[{"url":"https://a.test"}]')).toMatchObject({
    code: 2,
  });
  expect(await fetch("--tree", tree, "--vault", '[{"url":"http://a.test"}]')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("stagex:vault[0].url: must be https"),
  });
});
