import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "../../lib/paths.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";
import { selfSigned } from "../support/builders/self-signed.ts";
import { packageFiles, trackedTree } from "../support/builders/written-tree.ts";

/** Each name is a machine of its own on the loopback; `dead` has no server. */
const hosts = ["plain", "redirecting", "dead", "secure"]
  .map((name, number) => `127.0.0.${number + 2} ${name}.mirrors.test\n`)
  .concat("127.0.0.6 archive.softwareheritage.org\n")
  .join("");

/** A package with one source, `/NAME.tar`, whose content is that path. */
function packageOf(name: string, ...bases: string[]): Record<string, string> {
  const path = `/${name}.tar`;
  const sha256 = createHash("sha256").update(path).digest("hex");
  const mirrors = JSON.stringify(bases.map((base) => `${base}${path}`));
  const section = `[sources.it]\nhash = "${sha256}"\nmirrors = ${mirrors}\n`;
  return packageFiles(`core/${name}`, { toml: `version = "1.0"\n${section}` });
}

/** What Software Heritage has. */
const archived = ["/archived.tar", "/hour.tar"];

/** Fetches the sources of a tree in a network of the test's own, where the mirrors have their names. */
async function fetched(
  files: Readonly<Record<string, string>>,
  ...args: string[]
): Promise<{ code: number; sources: Record<string, string>; stderr: string }> {
  const tree = trackedTree(files);
  const folder = await scratchFolder();
  const at = (name: string) => join(folder, name);
  const authority = selfSigned("*.mirrors.test", "archive.softwareheritage.org");
  writeFileSync(at("hosts"), hosts);
  writeFileSync(at("ca.pem"), authority.cert);
  writeFileSync(at("names.json"), JSON.stringify({ hosts: at("hosts"), ...authority, archived }));
  mkdirSync(at("cache"));
  const stagex = [
    process.execPath,
    join(projectRoot, "cli/stagex.mjs"),
    "fetch",
    "--tree",
    tree,
    "--json",
    ...args,
  ];
  const mirrors = [
    process.execPath,
    join(projectRoot, "test/support/servers/named-mirrors.ts"),
    at("names.json"),
  ];
  return await new Promise((resolve) => {
    execFile(
      "unshare",
      ["--net", "--mount", "--", ...mirrors, ...stagex],
      {
        env: { ...process.env, STAGEX_CACHE: at("cache"), NODE_EXTRA_CA_CERTS: at("ca.pem") },
        timeout: 120_000,
      },
      (error, stdout, stderr) => {
        const found: { file: string; status: string }[] = stdout === "" ? [] : JSON.parse(stdout);
        const sources = Object.fromEntries(found.map(({ file, status }) => [file, status]));
        resolve({ code: error === null ? 0 : Number(error.code), sources, stderr });
      },
    );
  });
}

const mirrored = {
  ...packageOf("plain", "http://plain.mirrors.test"),
  ...packageOf("redirecting", "https://redirecting.mirrors.test"),
  ...packageOf("dead", "http://dead.mirrors.test", "file:///srv", "https://secure.mirrors.test"),
};

/** Namespaces take root, as private daemons do. */
const asRoot = test.skipIf(process.getuid?.() !== 0);

asRoot("mirrors under their own names: http alone, one that leads there, one that is dead", async () => {
  const { code, sources, stderr } = await fetched(mirrored);
  expect(code, stderr).toBe(0);
  expect(sources).toEqual({ "plain.tar": "there", "redirecting.tar": "there", "dead.tar": "there" });
});

asRoot("with --https-only what is on http alone can't be had, and is named", async () => {
  const { code, sources, stderr } = await fetched(mirrored, "--https-only");
  expect(code, stderr).toBe(1);
  expect(sources).toEqual({ "plain.tar": "missing", "redirecting.tar": "missing", "dead.tar": "there" });
});

const lost = {
  ...packageOf("archived", "https://dead.mirrors.test"),
  ...packageOf("unknown", "https://dead.mirrors.test"),
};

asRoot("Software Heritage is asked last, waited for, and named", async () => {
  const { code, sources, stderr } = await fetched({
    ...lost,
    ...packageOf("plain", "http://plain.mirrors.test"),
  });
  expect(sources).toEqual({ "archived.tar": "there", "unknown.tar": "missing", "plain.tar": "there" });
  expect(code).toBe(1);
  expect(stderr).toMatch(/archived\.tar: no mirror gave it; asking Software Heritage, the last resort/);
  expect(stderr).toMatch(/archived\.tar came from Software Heritage/);
  expect(stderr).not.toMatch(/plain\.tar.*Software Heritage/);
});

asRoot("Software Heritage is not asked where that is switched off", async () => {
  const { sources, stderr } = await fetched(lost, "--no-software-heritage");
  expect(sources).toEqual({ "archived.tar": "missing", "unknown.tar": "missing" });
  expect(stderr).not.toMatch(/Heritage/);
});

asRoot("Software Heritage is left alone where it asks to wait an hour", async () => {
  const { sources, stderr } = await fetched(packageOf("hour", "https://dead.mirrors.test"));
  expect(sources).toEqual({ "hour.tar": "missing" });
  expect(stderr).toMatch(/hour\.tar: https:\/\/archive\..*429 Too Many Requests, and asks to wait 3600 s/);
});
