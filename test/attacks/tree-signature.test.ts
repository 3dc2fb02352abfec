import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { createMessage, type PrivateKey, revokeKey, sign } from "openpgp";
import { beforeEach, expect, test } from "vitest";
import type { AuthenticityPolicy } from "../../sources/tree/tree-authenticity.ts";
import { checkOutTree, parseTreeAddress } from "../../sources/tree/tree-checkout.ts";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import { parseRoster } from "../../trust/quorum/roster.ts";
import { verifyTreeSignature } from "../../trust/quorum/tree-signature.ts";
import { GpgHome } from "../support/builders/gpg-home.ts";
import { daysFromNow, maintainersOf, newKey } from "../support/builders/maintainers.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";
import { TreeHistory } from "../support/builders/tree-history.ts";

let ash: PrivateKey;
let mallory: PrivateKey;
let history: TreeHistory;
/** The first trusted commit, the one before it, and the newest. */
let [before, since, head] = ["", "", ""];

beforeEach(async () => {
  ash = await newKey("ash");
  mallory = await newKey("mallory");
  history = new TreeHistory();
  before = history.commit({ MAINTAINERS: "a" });
  since = history.commit({ MAINTAINERS: "b" });
  history.commit({ MAINTAINERS: "c" });
  head = history.commit({ MAINTAINERS: "d" });
});

/** Trusts ash, or nobody but the keys that are given. */
async function byAsh(
  from = since,
  keys: Parameters<typeof Keyring.of>[0] = [ash],
): Promise<AuthenticityPolicy> {
  const roster = parseRoster(maintainersOf({ ash: { keys: [ash] } }));
  const keyring = await Keyring.of(keys);
  return {
    since: from,
    requireSigned: async (signed) => void (await verifyTreeSignature(signed, { roster, keyring })),
  };
}

async function open(
  revision: string,
  authenticity: AuthenticityPolicy | undefined,
  cache?: string,
): Promise<string> {
  const address = parseTreeAddress(`${pathToFileURL(history.root).href}#${revision}`, "/");
  const into = cache ?? (await scratchFolder());
  return await checkOutTree(address, into, authenticity === undefined ? {} : { authenticity });
}

const detached = async (text: string, key: PrivateKey): Promise<string> =>
  await sign({
    message: await createMessage({ binary: Buffer.from(text), format: "binary" }),
    signingKeys: key,
    detached: true,
    date: daysFromNow(-1),
  });

const tagText = (name: string, commit = head, message = "Release\n"): string =>
  `object ${commit}\ntype commit\ntag ${name}\ntagger Ash <ash@seed-tree.example> 1700000000 +0000\n\n${message}`;

/** Writes an object as it is, and gives it a name if it is a tag. */
function write(type: "tag" | "commit", text: string, name?: string): string {
  const object = execFileSync(
    "git",
    ["-C", history.root, "hash-object", "-t", type, "-w", "--literally", "--stdin"],
    {
      input: text,
      encoding: "utf8",
    },
  ).trim();
  if (name !== undefined) history.git("update-ref", `refs/tags/${name}`, object);
  return object;
}

async function signedTag(name: string, key = ash, commit = head): Promise<string> {
  const text = tagText(name, commit);
  return `${text}${await detached(text, key)}`;
}

/** A commit whose header `gpgsig` has a signature, folded as git folds it. */
const withHeader = (text: string, signature: string): string =>
  text.replace("\n\n", `\ngpgsig ${signature.trimEnd().replaceAll(/\r?\n/g, "\n ")}\n\n`);

const commitText = (parent = head, message = "A change\n"): string => {
  const tree = history.git("rev-parse", `${parent}^{tree}`).trim();
  const who = "Ash <ash@seed-tree.example> 1700000000 +0000";
  return `tree ${tree}\nparent ${parent}\nauthor ${who}\ncommitter ${who}\n\n${message}`;
};

/** Lets the server send commits that no branch has. */
const sendAll = () => history.git("config", "uploadpack.allowAnySHA1InWant", "true");

test("uses a signed tag, from the cache too, and refuses an unsigned one", async () => {
  write("tag", await signedTag("good"), "good");
  const cache = await scratchFolder();
  const folder = await open("good", await byAsh(), cache);
  expect(readFileSync(join(folder, "MAINTAINERS"), "utf8")).toBe("d");
  expect(await open("good", await byAsh(), cache)).toBe(folder);
  write("tag", tagText("bare"), "bare");
  history.git("tag", "light", head);
  await expect(open("bare", await byAsh())).rejects.toThrow("the tag bare is not signed");
  await expect(open("light", await byAsh())).rejects.toThrow("no object that could be signed");
  expect(await open("bare", undefined)).toContain(head);
});

test("leaves nothing of a refused tree, and does not note its tag", async () => {
  write("tag", tagText("refused"), "refused");
  const cache = await scratchFolder();
  await expect(open("refused", await byAsh(), cache)).rejects.toThrow("not signed");
  const left = readdirSync(cache, { recursive: true }).map(String);
  expect(left.filter((path) => /[0-9a-f]{40}|refused/.test(path))).toEqual([]);
});

test("checks a checkout that was made before the setting", async () => {
  write("tag", await signedTag("early", mallory), "early");
  const cache = await scratchFolder();
  await open("early", undefined, cache);
  await expect(open("early", await byAsh(), cache)).rejects.toThrow("not among the keys");
  write("tag", await signedTag("late"), "late");
  await open(head, undefined, cache);
  await open("late", undefined, cache);
  expect(await open("late", await byAsh(), cache)).toContain(head);
});

test("rejects a key outside of the roster, and a revoked key", async () => {
  write("tag", await signedTag("foreign", mallory), "foreign");
  await expect(open("foreign", await byAsh(since, [ash, mallory]))).rejects.toThrow("nobody's in the roster");
  write("tag", await signedTag("revoked"), "revoked");
  const cache = await scratchFolder();
  await open("revoked", await byAsh(), cache);
  const { publicKey } = await revokeKey({ key: ash, format: "object" });
  await expect(open("revoked", await byAsh(since, [publicKey]), cache)).rejects.toThrow("revoked");
});

test("refuses a moved tag, and one with the object of another tag", async () => {
  write("tag", await signedTag("one"), "one");
  history.git("update-ref", "refs/tags/two", history.git("rev-parse", "refs/tags/one").trim());
  await expect(open("two", await byAsh())).rejects.toThrow('was made as the tag "one"');
  const signature = (await signedTag("moved")).slice(tagText("moved").length);
  write("tag", `${tagText("moved", since)}${signature}`, "moved");
  await expect(open("moved", await byAsh())).rejects.toThrow("does not hold");
  const cache = await scratchFolder();
  write("tag", await signedTag("again", mallory, since), "again");
  await open("again", undefined, cache);
  write("tag", await signedTag("again"), "again");
  await expect(open("again", await byAsh(), cache)).rejects.toThrow("has moved its tag again");
});

test("rejects a second signature, and bytes after a signature", async () => {
  const text = tagText("twice");
  const signature = await detached(text, ash);
  write("tag", `${text}${signature}${signature}`, "twice");
  await expect(open("twice", await byAsh())).rejects.toThrow("more than one signature");
  const inner = `${tagText("inner")}${await detached(tagText("inner"), mallory)}`;
  write("tag", `${inner}${await detached(inner, ash)}`, "inner");
  await expect(open("inner", await byAsh())).rejects.toThrow("more than one signature");
  write(
    "tag",
    `${text.replace("twice", "after")}${await detached(text.replace("twice", "after"), ash)}more\n`,
    "after",
  );
  await expect(open("after", await byAsh())).rejects.toThrow("not one whole armored signature");
  write("tag", `${tagText("ssh")}-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n`, "ssh");
  await expect(open("ssh", await byAsh())).rejects.toThrow("signed with SSH SIGNATURE; only OpenPGP counts");
});

test("uses a commit with a good signature, and no header hides another text", async () => {
  sendAll();
  const text = commitText();
  const signature = await detached(text, ash);
  const good = write("commit", withHeader(text, signature));
  expect(await open(good, await byAsh())).toContain(good);
  await expect(open(head, await byAsh())).rejects.toThrow(`the commit ${head} is not signed`);
  const other = write("commit", withHeader(commitText(head, "Another\n"), signature));
  await expect(open(other, await byAsh())).rejects.toThrow("does not hold");
  const twice = write("commit", withHeader(withHeader(text, signature), signature));
  await expect(open(twice, await byAsh())).rejects.toThrow("other signatures than one");
  const sha256 = write("commit", withHeader(text, signature).replace("\ngpgsig ", "\ngpgsig-sha256 "));
  await expect(open(sha256, await byAsh())).rejects.toThrow("other signatures than one");
  const tabbed = write("commit", withHeader(text, signature).replaceAll("\n ", "\n\t"));
  await expect(open(tabbed, await byAsh())).rejects.toThrow(/not one whole armored signature|git fetch/);
  const inMessage = write("commit", `${text}gpgsig ${signature.trimEnd().replaceAll(/\r?\n/g, "\n ")}\n`);
  await expect(open(inMessage, await byAsh())).rejects.toThrow("is not signed");
});

test("refuses a signed commit that does not descend from the first trusted one", async () => {
  write("tag", await signedTag("old", ash, before), "old");
  await expect(open("old", await byAsh())).rejects.toThrow(`does not descend from ${since}`);
  sendAll();
  const text = commitText().replace(/^parent .*\n/m, "");
  const elsewhere = write("commit", withHeader(text, await detached(text, ash)));
  await expect(open(elsewhere, await byAsh())).rejects.toThrow("does not descend");
  write("tag", await signedTag("exact", ash, since), "exact");
  expect(await open("exact", await byAsh())).toContain(since);
});

test("refuses a folder if a signature is required", async () => {
  const address = parseTreeAddress(history.root, "/");
  const opened = checkOutTree(address, await scratchFolder(), { authenticity: await byAsh() });
  await expect(opened).rejects.toThrow("is a folder, whose files nobody has signed");
});

test.each(["sha1", "sha256"])("accepts signatures made by git itself, in %s", async (format) => {
  await using home = await GpgHome.create();
  const fingerprint = home.newKey("ash", "ed25519");
  const root = await scratchFolder();
  const git = (...args: string[]) =>
    execFileSync(
      "git",
      ["-C", root, "-c", "user.name=Ash", "-c", "user.email=ash@seed-tree.example", ...args],
      {
        encoding: "utf8",
        env: { ...process.env, GNUPGHOME: home.folder, GIT_CONFIG_GLOBAL: "/dev/null" },
        stdio: ["ignore", "pipe", "pipe"],
      },
    ).trim();
  git("init", "--quiet", `--object-format=${format}`);
  writeFileSync(join(root, "MAINTAINERS"), "ash\n");
  git("add", ".");
  git("commit", "--quiet", `-S${fingerprint}`, "-m", "First\n\nWith a body.");
  git("tag", "-u", fingerprint, "-m", "Release\n\nNotes.", "1.0");
  const commit = git("rev-parse", "HEAD");
  const keys = await scratchFolder();
  writeFileSync(join(keys, "ash.asc"), home.run("--armor", "--export"));
  const roster = parseRoster(`[people.ash]\n[keys.ash.one]\nid = "${fingerprint}"\n`);
  const keyring = await Keyring.load(keys);
  const authenticity = {
    since: commit,
    requireSigned: async (signed: Parameters<typeof verifyTreeSignature>[0]) =>
      expect((await verifyTreeSignature(signed, { roster, keyring })).id).toBe("ash"),
  };
  const cache = await scratchFolder();
  for (const revision of [commit, "1.0"]) {
    const address = parseTreeAddress(`${pathToFileURL(root).href}#${revision}`, "/");
    expect(await checkOutTree(address, cache, { authenticity })).toContain(commit);
  }
  const weak = ["--digest-algo=SHA1", "--allow-weak-digest-algos", "--armor", "--output=-", "--detach-sign"];
  const signature = home.run(...weak, join(root, "MAINTAINERS")).toString();
  const signed = { payload: Buffer.from("ash\n"), signature };
  await expect(verifyTreeSignature(signed, { roster, keyring })).rejects.toMatchObject({ code: "weak-hash" });
});
