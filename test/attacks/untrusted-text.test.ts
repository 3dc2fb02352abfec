import { mkdir, writeFile } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Ledger } from "../../distro/ledger/ledger.ts";
import { inputKeyOfPlan } from "../../distro/plan/predict-digests.ts";
import { readTree } from "../../distro/tree/tree.ts";
import { digestOf } from "../../oci/digest.ts";
import { repositoryOf } from "../../trust/signatures/image-reference.ts";
import { expectHarmless, hostileName, hostileText } from "../support/builders/hostile-text.ts";
import { writeLayout } from "../support/builders/image-layout.ts";
import { MaintainerFiles } from "../support/builders/maintainer-files.ts";
import { image, newKey, payload, signedBy } from "../support/builders/maintainers.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";
import { TreeHistory } from "../support/builders/tree-history.ts";
import { packageFiles, someHash, trackedTree } from "../support/builders/written-tree.ts";
import { type Ended, stagex } from "../support/programs/stagex-command.ts";

const toml = JSON.stringify;
/** TOML's basic strings are JSON's, but TOML requires one more escape. */
const quotedWords = toml(hostileText).replaceAll("\u009b", "\\u009b");

/** A package of which every text that may be any text is hostile. */
function hostilePackage(version = "1"): Record<string, string> {
  return {
    "packages/user/x/package.toml": `[package]
name = "x"
version = "${version}"
description = ${quotedWords}
license = ${quotedWords}
website = ${quotedWords}
maintainer = ${quotedWords}
[sources.x]
hash = "${someHash}"
file = "x.tar"
mirrors = [${toml(`https://mirror.example/${version}`)}]
`,
    "packages/user/x/Containerfile": `# ${hostileText.replace(/[\r\n]+/g, " ")}\nFROM scratch\nCOPY . /\nLABEL words=${toml(hostileText.replace(/[\r\n\u2028]+/g, " "))}\n`,
    [`packages/user/x/${hostileName}`]: hostileText,
  };
}

/** Runs a command, and expects that it repeats nothing that does anything. */
async function harmless(...args: readonly string[]): Promise<Ended> {
  const ended = await stagex(...args);
  expectHarmless(ended.stdout);
  expectHarmless(ended.stderr);
  expect(ended.stderr).not.toMatch(/internal error|\n {4}at /);
  return ended;
}

/** The output of a command that others' text is to be seen in, escaped. */
function shown({ stdout, stderr }: Ended): string {
  expect(stdout + stderr).toContain("FORGED");
  return stdout + stderr;
}

test("show, plan and why escape the text of a tree", async () => {
  const history = new TreeHistory();
  history.commit({ ...hostilePackage(), ...packageFiles("user/y") });
  history.write(hostilePackage("2"));
  const tree = ["--tree", history.root];
  expect(shown(await harmless("show", "user-x", ...tree))).toContain("\\u001b[2J\\u009b2J\\u202eevil");
  await harmless("show", "--all", ...tree);
  await harmless("show", "user-x", "--json", ...tree);
  history.write({ [`packages/user/x/${hostileName}2`]: "x" });
  history.git("add", "--all");
  await harmless("plan", ...tree);
  const { stdout } = await harmless("plan", "--json", ...tree);
  const [{ causes }] = JSON.parse(stdout).rebuild;
  expect(JSON.stringify(causes)).toContain(JSON.stringify(`${hostileName}2`));
  shown(await harmless("why", "user-x", ...tree));
});

test("problems of a tree are printed escaped", async () => {
  const name = "packages/user/x/package.toml";
  const hostile = hostilePackage();
  const wrong: Record<string, string>[] = [
    { [name]: `[package]\nname = ${quotedWords}\ndescription = 1\nversion = ${quotedWords}\n` },
    {
      [name]: `[package]\nname = "x"\ndescription = "x"\nversion_from = ${quotedWords}\nsubpackages = [${quotedWords}]\nplatforms = [${quotedWords}]\n`,
    },
    {
      [name]: `[package]\nname = "x"\ndescription = "x"\n[sources.${quotedWords}]\nhash = ${quotedWords}\nfiles = 1\nmirrors = []\nformat = ${quotedWords}`,
    },
    {
      [name]: `[package]\nname = "x"\ndescription = "x"\n[sources.a]\nhash = "${someHash}"\nfile = ${quotedWords}\nmirrors = [${quotedWords}]`,
    },
    { [name]: `[package]\n${hostileText}\n` },
    { "packages/user/x/Containerfile": `FROM stagex/${hostileText}\n` },
    {
      "packages/user/x/Containerfile": `FROM scratch\nCOPY --from=stagex/${hostileText.replace(/\s/g, "")} a /\n${hostileText}\n`,
    },
    {
      "packages/user/x/Containerfile": `# syntax=${hostileText}\nFROM scratch\nCOPY ["${hostileName}3", "/"]\n`,
    },
    { [`packages/user/${hostileName}/package.toml`]: "", [`packages/user/${hostileName}/Containerfile`]: "" },
    { [`packages/${hostileName}/x/package.toml`]: "", [`packages/${hostileName}/x/Containerfile`]: "" },
    { "digests/user.txt": `${hostileText}\n${someHash} ${hostileText}\n` },
    { [`digests/${hostileName}.txt`]: "x" },
  ];
  const seen: string[] = [];
  for (const files of wrong) {
    const root = trackedTree({ ...hostile, ...files });
    const { code, stderr, stdout } = await harmless("show", "--all", "--tree", root);
    if (code !== 0) seen.push(stderr + stdout);
  }
  expect(seen.length).toBeGreaterThan(8);
  expect(seen.join("\n")).toContain("FORGED");
});

test.each([
  { kind: "warning", line: 'licence = "MIT"', field: "package.licence", exit: 0 },
  { kind: "problem", line: "subpackages = 1", field: "package.subpackages", exit: 2 },
])("ten problems of one kind of $kind are shown, and the others counted", async ({ line, field, exit }) => {
  const names = Array.from({ length: 30 }, (_, index) => `user/p${index}`);
  const root = trackedTree(
    Object.assign({}, ...names.map((name) => packageFiles(name, { toml: `${line}\nversion = "1"\n` }))),
  );
  const { code, stderr } = await harmless("show", "--all", "--tree", root);
  expect(code).toBe(exit);
  expect(stderr.split(field).length - 1).toBe(11);
  expect(stderr).toContain(`and 20 more of ${field}`);
});

test("errors of the command line are printed escaped", async () => {
  const root = trackedTree(packageFiles("user/y"));
  const at = ["--tree", root];
  for (const args of [
    ["show", hostileText, ...at],
    ["show", `--${hostileText}`, ...at],
    [hostileText],
    ["why", hostileText, ...at],
    ["plan", "--since", hostileText, ...at],
    ["plan", "--jobs", hostileText, ...at],
    ["show", "--all", "--tree", hostileText],
    ["ledger", "show", hostileText],
    ["ledger", "check", "--ledger", hostileText],
    ["verify", hostileText, "--signatures", "."],
    ["sbom", hostileText, ...at],
  ]) {
    const { code, stderr, stdout } = await stagex(...args);
    expect(code).toBeGreaterThan(0);
    // Its lines are whose who typed it; but none is a command, and no character is unseen.
    expectHarmless((stderr + stdout).replaceAll("FORGED", "TYPED"));
  }
});

test("ledger show and check escape the text of records", async () => {
  const history = new TreeHistory();
  history.commit(hostilePackage());
  const plan = (await readTree(history.root)).images.get("user-x");
  if (plan === undefined) throw new Error("no image");
  const root = join(await scratchFolder(), "ledger");
  const ledger = new Ledger(root);
  const inputKey = inputKeyOfPlan(plan, {});
  const facts = {
    ...{ arch: hostileText, cpuVendor: hostileText, cpuModel: hostileText, kernel: hostileText },
    ...{ buildkit: hostileText, go: hostileText },
  };
  const record = {
    inputKey,
    image: "user-x",
    seconds: 1,
    outcome: "built",
    finished: "2026-01-01T00:00:00Z",
  } as const;
  const first = { index: digestOf("i"), platforms: { "linux/amd64": digestOf("a") } };
  await ledger.append({ ...record, digests: first, builder: { id: "a", facts } });
  const evidence = ["user-x", "--tree", history.root, "--ledger", root];
  for (const command of ["provenance", "sbom"]) {
    shown(await harmless(command, ...evidence));
    const { stdout } = await harmless(command, ...evidence, "--json");
    expect(JSON.stringify(JSON.parse(stdout))).toContain("FORGED");
  }
  // A second word on the same inputs, a name that is suggested for another, and files that are no records.
  const nearby = `user-${"y".repeat(60)}`;
  const platforms = { "linux/amd64": digestOf("b"), [hostileText]: digestOf("c") };
  await ledger.append({ ...record, digests: { index: null, platforms }, builder: { id: "b", facts } });
  await ledger.append({
    ...{
      ...record,
      inputKey: inputKeyOfPlan({ ...plan, version: "2" }, {}),
      image: `${nearby}\n::error::FORGED\u001b[2J`,
    },
    ...{ digests: first, builder: { id: "a", facts: null } },
  });
  const key = join(root, inputKey.slice(0, 2), inputKey);
  for (const name of [hostileName, "c.json"])
    await writeFile(join(key, name), JSON.stringify({ [hostileText]: 1 }));
  for (const args of [["show", "user-x"], ["show", "*"], ["show", nearby], ["check"]])
    shown(await harmless("ledger", ...args, "--ledger", root));
  await harmless("plan", "--tree", history.root, "--ledger", root);
});

test("verify escapes the text of signatures, user ids and a roster", async () => {
  const folder = await scratchFolder();
  const files = new MaintainerFiles(folder);
  const [alice, mallory] = [
    await newKey("alice"),
    await newKey("mallory", {
      userIDs: [{ name: hostileText.replace(/[<>()]/g, ""), email: "m@seed-tree.example" }],
    }),
  ];
  const people = { alice: { keys: [alice] }, mallory: { keys: [mallory] } };
  await files.write(people);
  await writeFile(join(folder, "keys", `${hostileName}.asc`), hostileText);
  const signatures = [
    await signedBy(alice, payload({ optional: { cpuVendor: hostileText, creator: hostileText } })),
    await signedBy(
      mallory,
      payload({ optional: { [hostileText]: hostileText, arch: hostileText, go: hostileText } }),
    ),
    await signedBy(mallory, payload({ reference: hostileText })),
    await signedBy(mallory, hostileText),
    Buffer.from(hostileText),
    Buffer.from(`-----BEGIN PGP MESSAGE-----\n${hostileText}\n`),
  ];
  for (const signature of signatures)
    await files.lookaside.write(repositoryOf(image.reference), image.digest, signature);
  const asked = ["--image", `${image.reference}@${image.digest}`, "--signatures", join(folder, "signatures")];
  const roster = ["--maintainers", join(folder, "MAINTAINERS"), "--keys", join(folder, "keys")];
  shown(await harmless("verify", ...asked, ...roster));
  const { stdout } = await harmless("verify", ...asked, ...roster, "--json");
  expect(JSON.parse(stdout).rejected).toHaveLength(4);
  const policy = ["policy", ...roster, "--repository", "docker.io/stagex", "--out", join(folder, "out")];
  await harmless(...policy);
  const rosters = [
    hostileText,
    `[people.${quotedWords}]\n`,
    `[people.a]\nname = ${quotedWords}\n[keys.${quotedWords}.a]\nid = "x"\n`,
    `[people.a]\n[keys.a.${quotedWords}]\nid = ${quotedWords}\n`,
    `[people.a]\nname = 1\n[machines.a.${quotedWords}]\nbrand = 1\n`,
  ];
  const said: string[] = [];
  for (const text of rosters) {
    await writeFile(join(folder, "MAINTAINERS"), text);
    said.push((await harmless("verify", ...asked, ...roster)).stderr);
  }
  expect(said.join("")).toContain("FORGED");
});

test("errors of a layout are printed escaped", async () => {
  const folder = await scratchFolder();
  const files = new MaintainerFiles(folder);
  await files.write({ alice: { keys: [await newKey("alice")] } });
  const trust = ["--maintainers", join(folder, "MAINTAINERS"), "--keys", join(folder, "keys")];
  const verify = async (place: string) =>
    shownIfAny(await harmless("verify", place, "--signatures", join(folder, "signatures"), ...trust));
  const one = { platforms: { "linux/amd64": { layers: [[{ name: "a" }]] } } };
  const recipes = [
    { ...one, version: hostileText },
    {
      ...one,
      change: { index: (index: object) => ({ ...index, [hostileText]: 1, mediaType: hostileText }) },
    },
    {
      platforms: {
        [`linux/${hostileText.replaceAll("/", "_")}`]: { layers: [] },
        "linux/b": { layers: [] },
      },
    },
    {
      ...one,
      change: {
        manifest: (manifest: object) => ({
          ...manifest,
          layers: [{ mediaType: hostileText, digest: hostileText, size: 1 }],
        }),
      },
    },
    { ...one, change: { layoutIndex: () => hostileText } },
  ];
  const seen: string[] = [];
  for (const [index, recipe] of recipes.entries()) {
    const place = join(folder, `layout-${index}`);
    await writeLayout(place, recipe);
    seen.push(await verify(place));
  }
  expect(seen.join("")).toContain("FORGED");
});

function shownIfAny({ stdout, stderr }: Ended): string {
  return stdout + stderr;
}

/** A server that says the same to whatever it is asked. */
async function serving(answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("errors escape a server's status text, headers and bodies", async () => {
  const folder = await scratchFolder();
  await new MaintainerFiles(folder).write({ alice: { keys: [await newKey("alice")] } });
  const trust = ["--maintainers", join(folder, "MAINTAINERS"), "--keys", join(folder, "keys")];
  const error = JSON.stringify({
    errors: [{ code: hostileText, message: hostileText, detail: hostileText }],
  });
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: hostileText,
    [hostileText]: hostileText,
  });
  // What a header and a status line can have in them at all (RFC 9112).
  const line = `\u009b2J ##[error]FORGED <{%FORGED%}>`;
  const seen: string[] = [];
  for (const [status, body] of [
    [200, manifest],
    [200, hostileText],
    [403, error],
    [404, error],
    [418, error],
  ] as const) {
    const host = await serving((request, response) => {
      const isPing = request.url === "/v2/";
      response.writeHead(isPing ? 200 : status, isPing ? "OK" : line, {
        "content-type": isPing ? "application/json" : `application/vnd.oci.image.manifest.v1+json; ${line}`,
      });
      response.end(isPing ? "{}" : body);
    });
    seen.push(
      shownIfAny(await harmless("verify", `${host}/stagex/core-x:1`, "--signatures", folder, ...trust)),
    );
    const lookaside = ["--image", `${image.reference}@${image.digest}`, "--signatures", `http://${host}/`];
    seen.push(shownIfAny(await harmless("verify", ...lookaside, ...trust)));
  }
  expect(seen.join("")).toContain("FORGED");
});

test("the doctor escapes the environment", async () => {
  const before = process.env.BUILDKIT_HOST;
  process.env.BUILDKIT_HOST = `tcp://${hostileText.replaceAll("\0", "")}`;
  onTestFinished(() => {
    if (before === undefined) delete process.env.BUILDKIT_HOST;
    else process.env.BUILDKIT_HOST = before;
  });
  shown(await harmless("doctor"));
  const { stdout } = await harmless("doctor", "--json");
  expect(JSON.stringify(JSON.parse(stdout))).toContain("FORGED");
});

test("the name of a tree's folder is printed escaped", async () => {
  const root = join(await scratchFolder(), hostileName, "tree");
  for (const [path, text] of Object.entries(packageFiles("user/y"))) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  await harmless("show", "--all", "--tree", root);
  shown(await harmless("show", "user-none", "--tree", root));
  shown(await harmless("plan", "--tree", root));
});
